// Decode's matrix-vector product on the blocks as they lie in the file, for any encoding that lanes.hpp
// describes.
//
// For each group of 32 the integer product of codes and activations is exact; it is then scaled and summed in
// float: y = Σ_g scale_g · xscale_g · (Σ code · x − zero · Σ x) + Σ_g offset_g · (xscale_g · Σ x).
// Rows go one after another: hardware prefetchers follow one stream well, but not four at a row's distance
// (measured on Zen 5: 27 GB/s against 9–18). What depends on the activations alone is made once for all rows.
#pragma once

#include "kernels/encodings/unpack.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kRowsTogether = 4;  // rows whose lanes are summed at once
constexpr size_t kSlice = 16384;  // columns whose prepared activations are held at a time
constexpr size_t kPrefetchBytes =
    2048;  // ahead of the block at hand; crosses the page ends where hardware stops

// The sums of four vectors' lanes, into y[0 … count).
HWY_INLINE void StoreSums(const float* HWY_RESTRICT lanes, size_t count, bool add, float* HWY_RESTRICT y) {
  const DF32 df;
  const hn::Repartition<double, DF32> d64;
  constexpr size_t kLanes = kVectorBytes / 4;
  const auto pairs = [&](size_t row) CAIRN_LAMBDA {
    const VF32 a = hn::Load(df, lanes + row * kLanes), b = hn::Load(df, lanes + (row + 1) * kLanes);
    return hn::BitCast(d64, hn::Add(hn::InterleaveLower(df, a, b), hn::InterleaveUpper(df, a, b)));
  };
  const auto ab = pairs(0), cd = pairs(2);
  const VF32 all = hn::Add(hn::BitCast(df, hn::InterleaveLower(d64, ab, cd)),
                           hn::BitCast(df, hn::InterleaveUpper(d64, ab, cd)));
#if HWY_TARGET == HWY_AVX3
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all.raw), _mm512_extractf32x8_ps(all.raw, 1));
#else
  const __m256 half = all.raw;
#endif
  alignas(16) float sums[kRowsTogether];
  _mm_store_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  for (size_t r = 0; r < count; ++r) y[r] = add ? y[r] + sums[r] : sums[r];
}

// The lanes of step kStep's scales: lane l of the step's 32-bit products belongs to scale (l · 4 + first
// code) / 32, or / 16 with two scales a group.
template <int kSubscales, int kStep>
HWY_INLINE VF32 SpreadScales(const float* HWY_RESTRICT scale) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kSubscales == 1) {
    const __m512i lanes =
        _mm512_inserti64x4(_mm512_set1_epi32(2 * kStep), _mm256_set1_epi32(2 * kStep + 1), 1);
    return VF32{_mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(_mm256_load_ps(scale)))};
  } else {
    const __m512i lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return VF32{
        _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(4 * kStep)), _mm512_load_ps(scale))};
  }
#else
  if constexpr (kSubscales == 1) {
    return VF32{_mm256_broadcast_ss(scale + kStep)};
  } else {
    double both;
    __builtin_memcpy(&both, scale + 2 * kStep, 8);
    return VF32{_mm256_permutevar_ps(_mm256_castpd_ps(_mm256_set1_pd(both)),
                                     _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0))};
  }
#endif
}

// A slice's activations, and what every row takes from them alone.
template <class E>
struct Activations {
  static constexpr bool kPairs = !CAIRN_HAS_VNNI;  // products are summed in 16 bits first
  static constexpr bool kSums = E::kHasOffset && E::kSubscales == 2;
  static constexpr int kZeroTerm =
      E::kSigned && !kPairs ? 128 : E::kZero;  // signed codes become unsigned, 128 more

  HWY_INLINE Activations(const QuantizedVector& x, size_t begin, size_t groups)
      : values(x.values + begin * kGroupSize), scales(x.scales + begin), sums(x.sums + begin) {
    if constexpr (kZeroTerm != 0 || kSums) {
      for (size_t i = 0; i < groups * kGroupSize; i += kVectorBytes) {
        const VI8 v = hn::LoadU(DI8(), values + i);
        if constexpr (kSums) {
          hn::Store(hn::ConvertTo(DF32(), Dot4(hn::Zero(DI32()), hn::Set(DU8(), 1), v)), DF32(),
                    value_sums + i / 4);
        } else if constexpr (kPairs) {
          hn::Store(Dot2(hn::Set(DU8(), kZeroTerm), v), DI16(), zero_terms + i / 2);
        } else {
          const VI32 term = Dot4(hn::Zero(DI32()), hn::Set(DU8(), kZeroTerm), v);
          hn::Store(hn::Sub(hn::Zero(DI32()), term), DI32(), reinterpret_cast<int32_t*>(zero_terms + i / 2));
        }
      }
    }
    if constexpr (E::kSubscales == 2) {
      for (size_t g = 0; g < groups; ++g) half_scales[2 * g] = half_scales[2 * g + 1] = scales[g];
    }
  }

  // Σ (code − zero) · x for each four codes.
  HWY_INLINE VI32 Dot(StepCodes codes, size_t at) const {
    const VI8 x = hn::LoadU(DI8(), values + at);
    if constexpr (!kPairs) {
      if constexpr (E::kSigned) codes = hn::Xor(codes, hn::Set(DU8(), 0x80));
      if constexpr (kZeroTerm == 0) return Dot4(hn::Zero(DI32()), codes, x);
      return Dot4(hn::Load(DI32(), reinterpret_cast<const int32_t*>(zero_terms + at / 2)), codes, x);
    } else if constexpr (E::kSigned) {
      return Dot4Signed(hn::Zero(DI32()), hn::BitCast(DI8(), codes), x);
    } else {
      VI16 pairs = Dot2(codes, x);  // within ±63 · 254, the zero term within ±32 · 254
      if constexpr (kZeroTerm != 0) pairs = hn::Sub(pairs, hn::Load(DI16(), zero_terms + at / 2));
      return Dot2(pairs, hn::Set(DI16(), 1));
    }
  }

  const int8_t* values;
  const float* scales;
  const float* sums;
  // −zero · Σ x for each four (an int32), or zero · Σ x for each two.
  alignas(64) int16_t zero_terms[kZeroTerm != 0 ? kSlice / 2 : 1];
  alignas(64) float value_sums[kSums ? kSlice / 4 : 1];                 // Σ x for each four
  alignas(64) float half_scales[E::kSubscales == 2 ? kSlice / 16 : 1];  // each group's scale twice
};

// out = a · b for the scales of a chunk; what lies beyond `count` groups becomes 0.
template <int kScales, int kCount>
HWY_INLINE void MultiplyScales(const float* a, const float* HWY_RESTRICT b, float* out) {
  if constexpr (kCount < kChunkGroups) {
    for (int i = 0; i < kChunkGroups; ++i) out[i] = i < kCount ? a[i] * b[i] : 0;
  } else {
    const hn::CappedTag<float, kScales> d;  // whole at once: a wider load after two stores would stall
    for (int i = 0; i < kScales; i += static_cast<int>(hn::Lanes(d)))
      hn::Store(hn::Mul(hn::Load(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  }
}

// A row's sums in two vectors, so that two chains of additions run at once.
struct RowSums {
  VF32 even, odd;
};

template <class E, int kCount>
HWY_INLINE RowSums GemvChunk(const uint8_t* HWY_RESTRICT p, size_t group, const Activations<E>& x,
                             RowSums sums) {
  constexpr int kScales = kChunkGroups * E::kSubscales;
  constexpr int kBytes = E::kBytes * kCount / E::kGroups;
  const DF32 df;
  for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kPrefetchBytes + i);
  alignas(64) float scale[kScales], offset[kScales];
  E::template Scales<kCount>(p, scale, offset);
  const float* x_scales = E::kSubscales == 2 ? x.half_scales + 2 * group : x.scales + group;
  MultiplyScales<kScales, kCount>(scale, x_scales, scale);
  if constexpr (Activations<E>::kSums) {
    MultiplyScales<kScales, kCount>(offset, x_scales, offset);
  } else if constexpr (E::kHasOffset) {
    MultiplyScales<kScales, kCount>(offset, x.sums + group, offset);
#if HWY_TARGET == HWY_AVX3
    sums.odd = hn::Add(sums.odd, VF32{_mm512_zextps256_ps512(_mm256_load_ps(offset))});
#else
    sums.odd = hn::Add(sums.odd, hn::Load(df, offset));
#endif
  }
  const float* spread_from = scale;
#if HWY_TARGET == HWY_AVX2
  // Broadcasts from memory cost no shuffle; clang 14 would keep the scales in a register and permute it.
  if constexpr (E::kSubscales == 1) __asm__("" : "+r"(spread_from) : "m"(scale));
#endif
  Unroll<0, Steps(kCount)>([&](auto step) CAIRN_LAMBDA {
    constexpr int kStep = decltype(step)::value;
    VF32& sum = kStep % 2 == 0 ? sums.even : sums.odd;
    const size_t at = group * kGroupSize + static_cast<size_t>(kStep * kStepCodes);
    const VI32 dot = x.Dot(E::template Codes<kStep, kCount>(p), at);
    sum = hn::MulAdd(hn::ConvertTo(df, dot), SpreadScales<E::kSubscales, kStep>(spread_from), sum);
    if constexpr (Activations<E>::kSums) {
      sum = hn::MulAdd(hn::Load(df, x.value_sums + at / 4), SpreadScales<E::kSubscales, kStep>(offset), sum);
    }
  });
  return sums;
}

template <class E>
void GemvSlice(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups, const Activations<E>& x,
               bool add, float* y) {
  const DF32 df;
  alignas(64) float lanes[kRowsTogether * kVectorBytes / 4] = {};
  for (size_t r = 0; r < rows; ++r) {
    RowSums sums{hn::Zero(df), hn::Zero(df)};
    ForEachChunk<E>(weights + r * row_bytes, groups,
                    [&](const uint8_t* p, size_t g, auto count)
                        CAIRN_LAMBDA { sums = GemvChunk<E, decltype(count)::value>(p, g, x, sums); });
    const size_t in_batch = r % kRowsTogether;
    hn::Store(hn::Add(sums.even, sums.odd), df, lanes + in_batch * kVectorBytes / 4);
    if (in_batch + 1 == kRowsTogether || r + 1 == rows)
      StoreSums(lanes, in_batch + 1, add, y + (r - in_batch));
  }
}

template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x, float* y) {
  constexpr size_t kSliceBytes = kSlice / (kGroupSize * E::kGroups) * E::kBytes;
  const uint8_t* column = static_cast<const uint8_t*>(weights);
  for (size_t begin = 0; begin < k; begin += kSlice, column += kSliceBytes) {
    const size_t groups = (k - begin < kSlice ? k - begin : kSlice) / kGroupSize;
    const Activations<E> prepared(x, begin / kGroupSize, groups);
    GemvSlice<E>(column, row_bytes, rows, groups, prepared, begin != 0, y);
  }
}

// The same for rows of floats: the activations become floats again, for two rows at a time.
template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                float* y) {
  const DF32 df;
  const hn::Rebind<int8_t, DF32> d8;
  constexpr size_t kLanes = kVectorBytes / 4;
  alignas(64) float activations[kSlice];
  for (size_t begin = 0; begin < k; begin += kSlice) {
    const size_t count = k - begin < kSlice ? k - begin : kSlice;
    for (size_t i = 0; i < count; i += kLanes) {
      const VF32 v = hn::ConvertTo(df, hn::PromoteTo(DI32(), hn::LoadU(d8, x.values + begin + i)));
      hn::Store(hn::Mul(v, hn::Set(df, x.scales[(begin + i) / kGroupSize])), df, activations + i);
    }
    alignas(64) float lanes[kRowsTogether * kLanes] = {};
    for (size_t r = 0; r < rows; ++r) {
      const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes + begin * E::kBytes;
      VF32 sums[4] = {hn::Zero(df), hn::Zero(df), hn::Zero(df), hn::Zero(df)};
      for (size_t i = 0; i < count; i += 2 * kGroupSize) {
        const size_t rest = count - i;
        Unroll<0, 2 * kGroupSize / static_cast<int>(kLanes)>([&](auto part) CAIRN_LAMBDA {
          constexpr size_t kAt = decltype(part)::value * kLanes;
          if (kAt < kGroupSize || rest > kGroupSize) {
            VF32& sum = sums[decltype(part)::value % 4];
            sum = hn::MulAdd(hn::Load(df, activations + i + kAt), E::Load(row + (i + kAt) * E::kBytes), sum);
          }
        });
        for (int b = 0; b < 2 * kGroupSize * E::kBytes; b += 64) {
          __builtin_prefetch(row + i * E::kBytes + kPrefetchBytes + b);
        }
      }
      const size_t in_batch = r % kRowsTogether;
      hn::Store(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])), df, lanes + in_batch * kLanes);
      if (in_batch + 1 == kRowsTogether || r + 1 == rows) {
        StoreSums(lanes, in_batch + 1, begin != 0, y + (r - in_batch));
      }
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
