// A token's activations as decode's product reads them, and the integer products with them.
//
// A chunk's groups of 32 go in sets, one group a lane of 16 codes: first a vector of the groups' first
// halves, then one of their last. What shares a scale is so added before anything is scaled. Where each half
// has a scale of its own (kSubscales 2), vectors are in order. On AVX2 the sums of four sets or vectors are
// then added across, until a vector has one lane for each scale. For several tokens that costs more than
// moving the codes once, so that words of 32 bits lie where their sums belong: the same integers, the same
// bits.
#pragma once

#include "kernels/encodings/unpack.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr bool kAcross = HWY_TARGET == HWY_AVX2;
constexpr int kChunkCodes = kChunkGroups * kGroupSize;

// The groups of a set lie kSets apart.
template <int kCount>
constexpr int kSets = kCount > kPieces ? kCount / kPieces : 1;
template <int kSet, int kHalf, int kCount>
struct Apart {
  static constexpr int Half(int) { return kHalf; }
  static constexpr int Group(int lane) {
    const int group = kSet + lane * kSets<kCount>;
    return group < kCount ? group : kCount - 1;  // whose activations are zeros here
  }
};

#if HWY_TARGET == HWY_AVX2
// Within each 128 bits: the sums of a's, b's, c's and d's lanes; lanes of 32 bits, or pairs of lanes of 16.
template <class D>
HWY_INLINE hn::Vec<D> AddAcross(D, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> c, hn::Vec<D> d) {
  using V = hn::Vec<D>;
  const V ab = hn::Add(V{_mm256_unpacklo_epi32(a.raw, b.raw)}, V{_mm256_unpackhi_epi32(a.raw, b.raw)});
  const V cd = hn::Add(V{_mm256_unpacklo_epi32(c.raw, d.raw)}, V{_mm256_unpackhi_epi32(c.raw, d.raw)});
  return hn::Add(V{_mm256_unpacklo_epi64(ab.raw, cd.raw)}, V{_mm256_unpackhi_epi64(ab.raw, cd.raw)});
}

// Within each 128 bits: word i of vector j becomes word j of vector i.
HWY_INLINE void TransposeWords(VU8& a, VU8& b, VU8& c, VU8& d) {
  const __m256i ab = _mm256_unpacklo_epi32(a.raw, b.raw), ab_high = _mm256_unpackhi_epi32(a.raw, b.raw);
  const __m256i cd = _mm256_unpacklo_epi32(c.raw, d.raw), cd_high = _mm256_unpackhi_epi32(c.raw, d.raw);
  a = VU8{_mm256_unpacklo_epi64(ab, cd)};
  b = VU8{_mm256_unpackhi_epi64(ab, cd)};
  c = VU8{_mm256_unpacklo_epi64(ab_high, cd_high)};
  d = VU8{_mm256_unpackhi_epi64(ab_high, cd_high)};
}
#endif

// How an encoding's codes are multiplied and summed.
template <class E>
struct Products {
  static constexpr bool kHalves = E::kSubscales == 2;
  // Without VNNI, sums of unsigned codes stay in 16 bits as long as Σ (code − centre) · x fits, over 16 codes
  // (8 in halves) on AVX2; on the way they may wrap around.
  static constexpr bool kNarrow = !CAIRN_HAS_VNNI && !E::kSigned;
  using Sum = std::conditional_t<kNarrow, DI16, DI32>;
  using VSum = hn::Vec<Sum>;
  static constexpr int kSumLanes = static_cast<int>(kVectorBytes / sizeof(hn::TFromD<Sum>));
  // What is subtracted from codes. Signed ones become unsigned for VNNI, 128 more.
  static constexpr int kCentre = E::kSigned ? (CAIRN_HAS_VNNI ? 128 : 0)
                                 : kNarrow && kAcross && !kHalves && E::kMostCode - E::kZero > 16 ? 16
                                                                                                  : E::kZero;
  static constexpr int kMissing = E::kSigned ? 0 : kCentre - E::kZero;  // what the sums lack of codes
  // Vectors of a chunk's codes, and of its sums.
  template <int kCount>
  static constexpr int kCodes = kHalves ? Steps(kCount) : 2 * kSets<kCount>;
  template <int kCount>
  static constexpr int kVectors = kAcross   ? E::kSubscales
                                  : kHalves ? Steps(kCount)
                                            : kSets<kCount>;

  template <int kIndex, int kCount>
  static HWY_INLINE VU8 Codes(const uint8_t* p) {
    using Lanes = std::conditional_t<kHalves, InOrder<kIndex, kCount>, Apart<kIndex / 2, kIndex % 2, kCount>>;
    const VU8 codes = E::template Codes<Lanes>(p);
    return E::kSigned && CAIRN_HAS_VNNI ? hn::Xor(codes, hn::Set(DU8(), 0x80)) : codes;
  }

  // sum + Σ codes · x
  static HWY_INLINE VSum Add(VSum sum, VU8 codes, const int8_t* values) {
    const VI8 x = hn::Load(DI8(), values);
    if constexpr (kNarrow) {
      return hn::Add(sum, Dot2(codes, x));
    } else if constexpr (!E::kSigned || CAIRN_HAS_VNNI) {
      return Dot4(sum, codes, x);
    } else {
      return Dot4Signed(sum, hn::BitCast(DI8(), codes), x);
    }
  }

  // start + vector kIndex of a chunk's sums of codes · x; codes(Constant<i>()) is vector i of the codes.
  // kWords: vectors of codes and values are those of InWords.
  template <int kIndex, int kCount, bool kWords, class Codes>
  static HWY_INLINE VSum Sums(VSum start, const Codes& codes, const int8_t* values) {
    constexpr int kAll = kWords ? kChunkCodes / kStepCodes : kCodes<kCount>;
    const auto add = [&](VSum sum, auto i) CAIRN_LAMBDA {
      constexpr int kAt = decltype(i)::value;
      if constexpr (kAt < kAll) return Add(sum, codes(i), values + kAt * kStepCodes);
      return sum;
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
      constexpr int kEach = kAll / kVectors<kCount>;
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

#if HWY_TARGET == HWY_AVX2
  // Words of the vectors whose sums are added across change places; vectors beyond the chunk are zeros.
  static HWY_INLINE void InWords(VU8 (&v)[8]) {
    if constexpr (kHalves) {
      TransposeWords(v[0], v[1], v[2], v[3]);
      TransposeWords(v[4], v[5], v[6], v[7]);
    } else {
      TransposeWords(v[0], v[2], v[4], v[6]);
      TransposeWords(v[1], v[3], v[5], v[7]);
    }
  }
#endif
};

// A chunk of a token's activations. Scales are in the order of the sums' lanes on AVX2, else in that of the
// groups; each of a group's halves has one.
template <class E>
struct InputChunk {
  using P = Products<E>;
  static constexpr int kScales = kChunkGroups * E::kSubscales;

  // Of the groups from `group` on.
  template <int kCount, bool kWords>
  HWY_INLINE void Fill(const QuantizedVector& x, size_t group) {
    const int8_t* from = x.values + group * kGroupSize;
    for (int piece = 0; piece < kChunkCodes / 16; ++piece) {
      const int set = piece / (2 * kPieces), half = piece / kPieces % 2, lane = piece % kPieces;
      const int at = P::kHalves ? piece / 2 : set < kSets<kCount> ? set + lane * kSets<kCount> : kCount;
      const int8_t* p = from + at * kGroupSize + (P::kHalves ? piece % 2 : half) * 16;
      const __m128i v =
          at < kCount ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)) : _mm_setzero_si128();
      _mm_store_si128(reinterpret_cast<__m128i*>(values + piece * 16), v);
    }
#if HWY_TARGET == HWY_AVX2
    if constexpr (kWords) {
      VU8 v[8];
      auto* bytes = reinterpret_cast<uint8_t*>(values);
      Unroll<0, 8>([&](auto i) CAIRN_LAMBDA { v[i.value] = hn::Load(DU8(), bytes + i.value * kStepCodes); });
      P::InWords(v);
      Unroll<0, 8>([&](auto i) CAIRN_LAMBDA { hn::Store(v[i.value], DU8(), bytes + i.value * kStepCodes); });
    }
#endif
    for (int lane = 0; lane < kScales; ++lane) {
      int at = lane / E::kSubscales;
      if constexpr (kAcross) {
        const int part = lane % 4;
        at = P::kHalves             ? lane / 8 * 4 + part
             : part < kSets<kCount> ? part + lane / 4 * kSets<kCount>
                                    : kCount;
      }
      scales[lane] = at < kCount ? x.scales[group + static_cast<size_t>(at)] : 0;
    }
    if constexpr (E::kHasOffset) {
      for (int i = 0; i < kScales; ++i) {
        const size_t at = group + static_cast<size_t>(i / E::kSubscales);
        if (i / E::kSubscales >= kCount) {
          sums[i] = 0;
        } else if constexpr (!P::kHalves) {
          sums[i] = x.sums[at];
        } else {
          int sum = 0;
          for (int j = 0; j < 16; ++j) sum += from[16 * i + j];
          sums[i] = x.scales[at] * static_cast<float>(sum);
        }
      }
    }
    if constexpr (P::kCentre != 0) {
      const typename P::Sum d;
      const VU8 centre = hn::Set(DU8(), static_cast<uint8_t>(P::kCentre));
      const auto codes = [&](auto) CAIRN_LAMBDA { return centre; };
      Unroll<0, P::template kVectors<kCount>>([&](auto i) CAIRN_LAMBDA {
        const auto sum = P::template Sums<decltype(i)::value, kCount, kWords>(hn::Zero(d), codes, values);
        hn::Store(hn::Neg(sum), d, starts + i.value * P::kSumLanes);
      });
    }
  }

  template <int kIndex>
  HWY_INLINE typename P::VSum Start() const {
    if constexpr (P::kCentre != 0) return hn::Load(typename P::Sum(), starts + kIndex * P::kSumLanes);
    return hn::Zero(typename P::Sum());
  }

  alignas(64) int8_t values[kChunkCodes];  // in the order of the codes
  alignas(P::kCentre != 0 ? 64 : 4)
      hn::TFromD<typename P::Sum> starts[P::kCentre != 0 ? P::template kVectors<kChunkGroups> * P::kSumLanes
                                                         : 1];  // −centre · Σ x for each of the sums' lanes
  alignas(32) float scales[kScales];
  alignas(32) float sums[E::kHasOffset ? kScales : 1];  // scale · Σ x, in the groups' order
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
