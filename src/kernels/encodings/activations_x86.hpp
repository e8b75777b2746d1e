// A token's activations as decode's product reads them, and the integer products with them.
//
// A chunk of eight groups of 32 is kCodeVectors vectors of codes, and of activations, whose words of 32 bits
// lie so that what is summed into a word shares a scale: on AVX-512 a word for each 16 codes, on AVX2 one for
// each group (two vectors of them where each 16 have a scale, kHalves). Codes are loaded in pieces of 16 and
// put into that order by shuffles; for a single token on AVX2 adding across costs less than moving codes:
// the same integers, the same bits.
#pragma once

#include "kernels/encodings/unpack.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr bool kAcross = HWY_TARGET == HWY_AVX2;
constexpr int kChunkCodes = kChunkGroups * kGroupSize;
constexpr int kCodeVectors = kChunkCodes / kStepCodes;
constexpr int kFloatLanes = static_cast<int>(kVectorBytes / sizeof(float));

// Which codes a vector is loaded of, unless halves have scales: the groups of a vector lie kSets apart.
constexpr int kSets = kChunkGroups / kPieces;
template <int kIndex>
struct Apart {
  static constexpr int Half(int) { return kIndex % 2; }
  static constexpr int Group(int lane) { return kIndex / 2 + lane * kSets; }
};

// Within each 128 bits: word i of vector j becomes word j of vector i.
HWY_INLINE void TransposeWords(VU8& a, VU8& b, VU8& c, VU8& d) {
  const DU32 words;
  const hn::Repartition<uint64_t, DU32> pairs;
  const auto merge = [&](VU8 v, VU8 w, bool upper) CAIRN_LAMBDA {
    const VU32 x = hn::BitCast(words, v), y = hn::BitCast(words, w);
    return hn::BitCast(pairs, upper ? hn::InterleaveUpper(words, x, y) : hn::InterleaveLower(words, x, y));
  };
  const auto ab = merge(a, b, false), ab_upper = merge(a, b, true);
  const auto cd = merge(c, d, false), cd_upper = merge(c, d, true);
  a = hn::BitCast(DU8(), hn::InterleaveLower(pairs, ab, cd));
  b = hn::BitCast(DU8(), hn::InterleaveUpper(pairs, ab, cd));
  c = hn::BitCast(DU8(), hn::InterleaveLower(pairs, ab_upper, cd_upper));
  d = hn::BitCast(DU8(), hn::InterleaveUpper(pairs, ab_upper, cd_upper));
}

#if HWY_TARGET == HWY_AVX2
// Within each 128 bits: the sums of a's, b's, c's and d's lanes; lanes of 32 bits, or pairs of lanes of 16.
template <class D>
HWY_INLINE hn::Vec<D> AddAcross(D, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> c, hn::Vec<D> d) {
  using V = hn::Vec<D>;
  const V ab = hn::Add(V{_mm256_unpacklo_epi32(a.raw, b.raw)}, V{_mm256_unpackhi_epi32(a.raw, b.raw)});
  const V cd = hn::Add(V{_mm256_unpacklo_epi32(c.raw, d.raw)}, V{_mm256_unpackhi_epi32(c.raw, d.raw)});
  return hn::Add(V{_mm256_unpacklo_epi64(ab.raw, cd.raw)}, V{_mm256_unpackhi_epi64(ab.raw, cd.raw)});
}
#endif

// How codes are multiplied and summed. kSigned: as int8 (VNNI takes them 128 higher, unsigned).
template <bool kHalvesScaled, bool kSigned>
struct Dots {
  static constexpr bool kHalves = kHalvesScaled;
  // Without VNNI, sums of unsigned codes stay in 16 bits as long as Σ (code − centre) · x fits, over the
  // codes that a lane of 16 bits takes (16 on AVX2, else 8); on the way they may wrap around.
  static constexpr bool kNarrow = !CAIRN_HAS_VNNI && !kSigned;
  using Sum = std::conditional_t<kNarrow, DI16, DI32>;
  using VSum = hn::Vec<Sum>;
  static constexpr int kSums = kAcross && kHalves ? 2 : 1;  // vectors of a chunk's sums
  static constexpr int kScales = kSums * kFloatLanes;

  // The group that a word of the sums belongs to, and which of the chunk's 16 halves of groups.
  static constexpr int Half(int lane) {
    if constexpr (!kAcross) return kHalves ? lane % 4 * 4 + lane / 4 : lane;
    return kHalves ? 2 * (lane / 8 * 4 + lane % 4) + lane % 8 / 4 : 2 * lane;
  }

  // From the order of loading to that of the sums' words.
  static HWY_INLINE void InWords(VU8 (&v)[kCodeVectors]) {
    if constexpr (kAcross && !kHalves) {
      TransposeWords(v[0], v[2], v[4], v[6]);
      TransposeWords(v[1], v[3], v[5], v[7]);
    } else if constexpr (kAcross) {
      TransposeWords(v[0], v[1], v[2], v[3]);
      TransposeWords(v[4], v[5], v[6], v[7]);
    } else if constexpr (kHalves) {
      TransposeWords(v[0], v[1], v[2], v[3]);
    } else {
      const hn::Repartition<uint64_t, DU8> pairs;
      const auto first = hn::BitCast(pairs, v[0]), second = hn::BitCast(pairs, v[1]);
      const auto next = hn::BitCast(pairs, v[2]), last = hn::BitCast(pairs, v[3]);
      v[0] = hn::BitCast(DU8(), hn::InterleaveLower(pairs, first, next));
      v[1] = hn::BitCast(DU8(), hn::InterleaveUpper(pairs, first, next));
      v[2] = hn::BitCast(DU8(), hn::InterleaveLower(pairs, second, last));
      v[3] = hn::BitCast(DU8(), hn::InterleaveUpper(pairs, second, last));
    }
  }

  // sum + Σ codes · x
  static HWY_INLINE VSum Add(VSum sum, VU8 codes, VI8 x) {
    if constexpr (kNarrow) {
      return hn::Add(sum, Dot2(codes, x));
    } else if constexpr (!kSigned || CAIRN_HAS_VNNI) {
      return Dot4(sum, codes, x);
    } else {
      return Dot4Signed(sum, hn::BitCast(DI8(), codes), x);
    }
  }

  // start + vector kIndex of a chunk's sums of codes · x; codes(Constant<i>()) is vector i of the codes.
  template <int kIndex, bool kWords, class Codes>
  static HWY_INLINE VSum Sums(VSum start, const Codes& codes, const int8_t* values) {
    const auto add = [&](VSum sum, auto i) CAIRN_LAMBDA {
      return Add(sum, codes(i), hn::Load(DI8(), values + decltype(i)::value * kStepCodes));
    };
    if constexpr (kAcross && !kWords) {
#if HWY_TARGET == HWY_AVX2
      VSum sums[4];
      Unroll<0, 4>([&](auto i) CAIRN_LAMBDA {
        constexpr int kPart = 4 * kIndex + decltype(i)::value;
        const VSum zero = hn::Zero(Sum());
        if constexpr (kHalves) {
          sums[i.value] = add(zero, Constant<kPart>());
        } else {
          sums[i.value] = add(add(zero, Constant<2 * kPart>()), Constant<2 * kPart + 1>());
        }
      });
      return hn::Add(start, AddAcross(Sum(), sums[0], sums[1], sums[2], sums[3]));
#endif
    } else {
      constexpr int kEach = kCodeVectors / kSums;
      Unroll<kIndex * kEach, (kIndex + 1) * kEach>([&](auto i) CAIRN_LAMBDA { start = add(start, i); });
      return start;
    }
  }

  // Sums as 32-bit integers.
  static HWY_INLINE VI32 Widen(VSum sum) {
    if constexpr (kNarrow) {
      return Dot2(sum, hn::Set(DI16(), 1));
    } else {
      return sum;
    }
  }
};

// A chunk of a token's activations.
struct alignas(64) InputChunk {
  int8_t values[kChunkCodes];  // in the order of the codes
  float scales[16];            // of the sums' words; zeros for groups that are not of the chunk
  uint8_t starts[64];          // what the sums start with: −centre · Σ x
  float sums[16];              // scale · Σ x, which offsets are multiplied with
};

// The groups that a chunk holds: eight from `first` on, of which those in [begin, end) count. Fewer than
// eight are in memory only where first + end is the row's end.
struct ChunkGroups {
  size_t first;
  int begin, end;
};

// Values in the order that codes are loaded in.
template <class D>
HWY_INLINE void LoadValues(const int8_t* from, VU8 (&v)[kCodeVectors]) {
  VU8 in[kCodeVectors];
  for (int i = 0; i < kCodeVectors; ++i)
    in[i] = hn::LoadU(DU8(), reinterpret_cast<const uint8_t*>(from) + i * kStepCodes);
  if constexpr (D::kHalves) {
    for (int i = 0; i < kCodeVectors; ++i) v[i] = in[i];
    return;
  }
#if HWY_TARGET == HWY_AVX3
  const auto lanes = [](VU8 a, VU8 b, auto which) CAIRN_LAMBDA {
    return VU8{_mm512_shuffle_i32x4(a.raw, b.raw, decltype(which)::value)};
  };
  const VU8 low = lanes(in[0], in[1], Constant<0x44>()), high = lanes(in[0], in[1], Constant<0xEE>());
  const VU8 low2 = lanes(in[2], in[3], Constant<0x44>()), high2 = lanes(in[2], in[3], Constant<0xEE>());
  v[0] = lanes(low, low2, Constant<0x88>());
  v[1] = lanes(low, low2, Constant<0xDD>());
  v[2] = lanes(high, high2, Constant<0x88>());
  v[3] = lanes(high, high2, Constant<0xDD>());
#else
  for (int set = 0; set < kSets; ++set) {
    v[2 * set] = VU8{_mm256_permute2x128_si256(in[set].raw, in[set + kSets].raw, 0x20)};
    v[2 * set + 1] = VU8{_mm256_permute2x128_si256(in[set].raw, in[set + kSets].raw, 0x31)};
  }
#endif
}

template <class D, bool kOffset, int kCentre, bool kWords>
HWY_NOINLINE void FillInput(const QuantizedVector& x, const ChunkGroups& groups, InputChunk& to) {
  const int8_t* from = x.values + groups.first * kGroupSize;
  alignas(64) int8_t padded[kChunkCodes];
  if (groups.end < kChunkGroups) {
    for (int i = 0; i < kChunkCodes; ++i) padded[i] = i < groups.end * kGroupSize ? from[i] : int8_t{0};
    from = padded;
  }
  VU8 v[kCodeVectors];
  LoadValues<D>(from, v);
  if constexpr (kWords) D::InWords(v);
  for (int i = 0; i < kCodeVectors; ++i)
    hn::Store(v[i], DU8(), reinterpret_cast<uint8_t*>(to.values) + i * kStepCodes);
  const auto scale = [&](auto lane, bool counts) CAIRN_LAMBDA {
    constexpr int kLane = decltype(lane)::value, kHalf = D::Half(kLane), kOf = kHalf / 2;
    to.scales[kLane] = counts ? x.scales[groups.first + kOf] : 0;
    if constexpr (kOffset && !D::kHalves) {
      to.sums[kLane] = kHalf % 2 == 0 && counts ? x.sums[groups.first + kOf] : 0;
    } else if constexpr (kOffset) {
      int sum = 0;
      for (int j = 0; j < 16; ++j) sum += from[16 * kHalf + j];
      to.sums[kLane] = to.scales[kLane] * static_cast<float>(sum);
    }
  };
  if (groups.begin == 0 && groups.end == kChunkGroups) {
    Unroll<0, D::kScales>([&](auto lane) CAIRN_LAMBDA { scale(lane, true); });
  } else {
    Unroll<0, D::kScales>([&](auto lane) CAIRN_LAMBDA {
      constexpr int kOf = D::Half(decltype(lane)::value) / 2;
      scale(lane, kOf >= groups.begin && kOf < groups.end);
    });
  }
  const VU8 centre = hn::Set(DU8(), static_cast<uint8_t>(kCentre));
  const auto codes = [&](auto) CAIRN_LAMBDA { return centre; };
  Unroll<0, D::kSums>([&](auto i) CAIRN_LAMBDA {
    const typename D::Sum d;
    typename D::VSum start = hn::Zero(d);
    if constexpr (kCentre != 0)
      start = hn::Neg(D::template Sums<decltype(i)::value, kWords>(hn::Zero(d), codes, to.values));
    hn::Store(start, d, reinterpret_cast<hn::TFromD<typename D::Sum>*>(to.starts + i.value * kVectorBytes));
  });
}

// What vector kIndex of the sums starts with.
template <class D, int kIndex>
HWY_INLINE typename D::VSum Start(const InputChunk& x) {
  using T = hn::TFromD<typename D::Sum>;
  return hn::Load(typename D::Sum(), reinterpret_cast<const T*>(x.starts + kIndex * kVectorBytes));
}

// sum + scale · dots [+ offset · Σ x], for vector kIndex of the sums.
template <class D, int kIndex, bool kOffset>
HWY_INLINE VF32 AddScaled(VF32 sum, typename D::VSum dots, VF32 scale, const float* offset,
                          const InputChunk& x) {
  const DF32 df;
  constexpr int kAt = kIndex * kFloatLanes;
  if constexpr (kOffset) sum = hn::MulAdd(hn::Load(df, offset + kAt), hn::Load(df, x.sums + kAt), sum);
  return hn::MulAdd(hn::ConvertTo(df, D::Widen(dots)), hn::Mul(scale, hn::Load(df, x.scales + kAt)), sum);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
