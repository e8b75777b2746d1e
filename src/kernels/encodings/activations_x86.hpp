// A token's activations as decode's product reads them, and the integer products with them.
//
// A chunk's groups of 32 go in sets, one group a lane of 16 codes: first a step of the groups' first halves,
// then one of their last. What shares a scale is so added before anything is scaled. Where each half has a
// scale of its own (kSubscales 2), steps are in order. On AVX2 four sets' or steps' sums are then added
// across, until a vector has one lane for each scale.
#pragma once

#include "kernels/encodings/unpack.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr size_t kSlice = 16384;  // columns whose prepared activations are held at a time
constexpr bool kAcross = HWY_TARGET == HWY_AVX2;

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
#endif

template <class E>
class Activations {
 public:
  static constexpr bool kHalves = E::kSubscales == 2;
  // Without VNNI, sums of unsigned codes stay in 16 bits as long as Σ (code − centre) · x fits, over 16 codes
  // (8 in halves) on AVX2; on the way they may wrap around.
  static constexpr bool kNarrow = !CAIRN_HAS_VNNI && !E::kSigned;
  using Sum = std::conditional_t<kNarrow, DI16, DI32>;
  using VSum = hn::Vec<Sum>;
  // What is subtracted from codes. Signed ones become unsigned for VNNI, 128 more.
  static constexpr int kCentre = E::kSigned ? (CAIRN_HAS_VNNI ? 128 : 0)
                                 : kNarrow && kAcross && !kHalves && E::kMostCode - E::kZero > 16 ? 16
                                                                                                  : E::kZero;
  static constexpr int kMissing = E::kSigned ? 0 : kCentre - E::kZero;  // what the sums lack of codes
  // Vectors of a chunk's sums.
  template <int kCount>
  static constexpr int kVectors = kAcross   ? E::kSubscales
                                  : kHalves ? Steps(kCount)
                                            : kSets<kCount>;

  // For columns from group `begin` on.
  void Prepare(const QuantizedVector& x, size_t begin, size_t groups) {
    const int8_t* from = x.values + begin * kGroupSize;
    ForEachCount(groups, [&](size_t g, auto count) CAIRN_LAMBDA {
      Order<decltype(count)::value>(from + g * kGroupSize, values_ + At<decltype(count)::value>(g));
    });
    for (size_t g = 0; g < groups + kChunkGroups; ++g) {
      scales[g] = g < groups ? x.scales[begin + g] : 0;
      sums[g] = g < groups ? x.sums[begin + g] : 0;
    }
    if constexpr (kHalves && E::kHasOffset) {
      for (size_t h = 0; h < 2 * groups; ++h) {
        int sum = 0;
        for (size_t i = 0; i < 16; ++i) sum += from[16 * h + i];
        half_sums[h] = scales[h / 2] * static_cast<float>(sum);
      }
    }
    if constexpr (kCentre != 0) {
      const VU8 centre = hn::Set(DU8(), E::kSigned ? 0 : kCentre);
      const auto codes = [&](auto) CAIRN_LAMBDA { return centre; };
      ForEachCount(groups, [&](size_t g, auto count) CAIRN_LAMBDA {
        constexpr int kCount = decltype(count)::value;
        Unroll<0, kVectors<kCount>>([&](auto i) CAIRN_LAMBDA {
          constexpr int kIndex = decltype(i)::value;
          VSum sums_of_centre[1];
          Products<kIndex, kCount>(this, g, codes, sums_of_centre);
          hn::Store(sums_of_centre[0], Sum(), centres_ + CentreAt<kCount>(g, kIndex));
        });
      });
    }
  }

  // Vector kIndex of the sums of (code − centre) · x for a chunk from group `group` on, as 32-bit integers,
  // for each of kInputs activations; codes(lanes) has the codes of a step.
  template <int kIndex, int kCount, int kInputs, class Codes>
  static HWY_INLINE void Dots(const Activations* x, size_t group, const Codes& codes, VI32 (&dots)[kInputs]) {
    VSum sums[kInputs];
    Products<kIndex, kCount>(x, group, codes, sums);
    Unroll<0, kInputs>([&](auto i) CAIRN_LAMBDA {
      constexpr int kInput = decltype(i)::value;
      VSum sum = sums[kInput];
      if constexpr (kCentre != 0)
        sum = hn::Sub(sum, hn::Load(Sum(), x[kInput].centres_ + CentreAt<kCount>(group, kIndex)));
      if constexpr (kNarrow) {
        dots[kInput] = Dot2(sum, hn::Set(DI16(), 1));
      } else {
        dots[kInput] = sum;
      }
    });
  }

  alignas(64) float scales[kSlice / kGroupSize + kChunkGroups];
  alignas(64) float sums[kSlice / kGroupSize + kChunkGroups];               // scale · Σ x
  alignas(64) float half_sums[kHalves && E::kHasOffset ? kSlice / 16 : 1];  // the same for half groups

 private:
  static constexpr size_t kTail =
      2 * kVectorBytes;  // a set that a row's last two groups, or one, do not fill

  // Calls body(g, Constant<count>) for the chunks of so many groups, as ForEachChunk does.
  template <class Body>
  static HWY_INLINE void ForEachCount(size_t groups, const Body& body) {
    ForEachChunk<Block<16>>(nullptr, groups, [&](const uint8_t*, size_t g, auto count) CAIRN_LAMBDA {
      if constexpr (E::kGroups == 1 || decltype(count)::value == kChunkGroups) body(g, count);
    });
  }

  // Where a chunk's values, and vector `index` of its centres, begin.
  template <int kCount>
  static HWY_INLINE size_t At(size_t group) {
    if constexpr (kCount >= 4) return group * kGroupSize;
    return kSlice + (kCount == 2 ? 0 : kTail);
  }
  template <int kCount>
  static HWY_INLINE size_t CentreAt(size_t group, int index) {
    const size_t chunk = kCount == kChunkGroups ? group / kChunkGroups
                                                : kSlice / 256 + (kCount == 4   ? 0
                                                                  : kCount == 2 ? 1
                                                                                : 2);
    return (chunk * kVectors<kChunkGroups> + static_cast<size_t>(index)) * hn::Lanes(Sum());
  }

  template <int kCount>
  static HWY_INLINE void Order(const int8_t* from, int8_t* to) {
    for (int piece = 0; piece < 2 * kSets<kCount> * kPieces; ++piece) {
      const int set = piece / (2 * kPieces), half = piece / kPieces % 2, lane = piece % kPieces;
      const int group = kHalves ? piece / 2 : set + lane * kSets<kCount>;
      const int8_t* p = from + group * kGroupSize + (kHalves ? piece % 2 : half) * 16;
      const __m128i v =
          group < kCount ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)) : _mm_setzero_si128();
      _mm_store_si128(reinterpret_cast<__m128i*>(to + piece * 16), v);
    }
  }

  // sum + Σ code · x for a step whose values begin at `at`.
  static HWY_INLINE VSum AddProducts(VSum sum, StepCodes codes, const int8_t* at) {
    const VI8 x = hn::Load(DI8(), at);
    if constexpr (kNarrow) {
      return hn::Add(sum, Dot2(codes, x));
    } else if constexpr (!E::kSigned) {
      return Dot4(sum, codes, x);
    } else if constexpr (CAIRN_HAS_VNNI) {
      return Dot4(sum, hn::Xor(codes, hn::Set(DU8(), 0x80)), x);
    } else {
      return Dot4Signed(sum, hn::BitCast(DI8(), codes), x);
    }
  }

  // The sums of set or step kPart; zeros beyond the chunk.
  template <int kPart, int kCount, int kInputs, class Codes>
  static HWY_INLINE void Part(const Activations* x, size_t group, const Codes& codes, VSum (&sums)[kInputs]) {
    Unroll<0, kInputs>([&](auto i) CAIRN_LAMBDA { sums[decltype(i)::value] = hn::Zero(Sum()); });
    const auto add = [&](StepCodes step, int at) CAIRN_LAMBDA {
      Unroll<0, kInputs>([&](auto i) CAIRN_LAMBDA {
        constexpr int kInput = decltype(i)::value;
        const int8_t* values = x[kInput].values_ + At<kCount>(group) + at * kStepCodes;
        sums[kInput] = AddProducts(sums[kInput], step, values);
      });
    };
    if constexpr (kHalves) {
      add(codes(InOrder<kPart, kCount>()), kPart);
    } else if constexpr (kPart < kSets<kCount>) {
      add(codes(Apart<kPart, 0, kCount>()), 2 * kPart);
      add(codes(Apart<kPart, 1, kCount>()), 2 * kPart + 1);
    }
  }

  template <int kIndex, int kCount, int kInputs, class Codes>
  static HWY_INLINE void Products(const Activations* x, size_t group, const Codes& codes,
                                  VSum (&sums)[kInputs]) {
#if HWY_TARGET == HWY_AVX2
    constexpr int kFirst = 4 * kIndex;
    VSum a[kInputs], b[kInputs], c[kInputs], d[kInputs];
    Part<kFirst, kCount>(x, group, codes, a);
    Part<kFirst + 1, kCount>(x, group, codes, b);
    Part<kFirst + 2, kCount>(x, group, codes, c);
    Part<kFirst + 3, kCount>(x, group, codes, d);
    Unroll<0, kInputs>([&](auto i) CAIRN_LAMBDA {
      constexpr int kInput = decltype(i)::value;
      sums[kInput] = AddAcross(Sum(), a[kInput], b[kInput], c[kInput], d[kInput]);
    });
#else
    Part<kIndex, kCount>(x, group, codes, sums);
#endif
  }

  alignas(64) int8_t values_[kSlice + 2 * kTail];
  alignas(64) hn::TFromD<Sum> centres_[kCentre != 0 ? (kSlice / 256 + 3) * kVectors<kChunkGroups> *
                                                          (kVectorBytes / sizeof(hn::TFromD<Sum>))
                                                    : 1];
};

// The scales of vector kIndex of a chunk's sums out of 8 (or 16 of halves).
template <int kSubscales, int kIndex, int kCount>
HWY_INLINE VF32 SpreadScales(const float* HWY_RESTRICT scale) {
#if HWY_TARGET == HWY_AVX3
  const __m512i lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  if constexpr (kSubscales == 1) {
    constexpr int kApart = kSets<kCount>;  // lanes beyond the chunk meet zeros
    const __m512i groups =
        _mm512_add_epi32(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(kApart)), _mm512_set1_epi32(kIndex));
    return VF32{_mm512_permutexvar_ps(groups, _mm512_zextps256_ps512(_mm256_load_ps(scale)))};
  } else {
    return VF32{
        _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(4 * kIndex)), _mm512_load_ps(scale))};
  }
#else
  const VF32 all = hn::Load(DF32(), scale + 8 * kIndex);
  if constexpr (kSubscales == 2) {
    return VF32{_mm256_permutevar8x32_ps(all.raw, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))};
  } else if constexpr (kCount == 4) {
    return VF32{_mm256_permutevar8x32_ps(all.raw, _mm256_setr_epi32(0, 1, 7, 7, 2, 3, 7, 7))};
  } else if constexpr (kCount == 2) {
    return VF32{_mm256_permutevar8x32_ps(all.raw, _mm256_setr_epi32(0, 7, 7, 7, 1, 7, 7, 7))};
  } else {
    return all;
  }
#endif
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
