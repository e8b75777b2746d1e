// Decode's matrix-vector product on the blocks as they lie in the file, for any encoding that lanes.hpp
// describes.
//
// For each group of 32 the integer product of codes and activations is exact; it is then scaled and summed in
// float: y = Σ_g scale_g · xscale_g · (Σ code · x − zero · Σ x) + Σ_g offset_g · (xscale_g · Σ x).
// Four rows go together: they share what depends on the activations alone, and their sums hide each other's
// latency.
#pragma once

#include "kernels/encodings/unpack.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kRowsTogether = 4;

template <int kRows>
struct RowSums {
  VF32 row[kRows];
};

// Sums of each row's lanes into y.
template <int kRows>
HWY_INLINE void StoreSums(const RowSums<kRows>& sums, float* y) {
  const DF32 df;
  if constexpr (kRows == 4) {
    const hn::Repartition<double, DF32> d64;
    const auto pairs = [&](VF32 a, VF32 b) CAIRN_LAMBDA {
      return hn::BitCast(d64, hn::Add(hn::InterleaveLower(df, a, b), hn::InterleaveUpper(df, a, b)));
    };
    const auto ab = pairs(sums.row[0], sums.row[1]), cd = pairs(sums.row[2], sums.row[3]);
    const VF32 all = hn::Add(hn::BitCast(df, hn::InterleaveLower(d64, ab, cd)),
                             hn::BitCast(df, hn::InterleaveUpper(d64, ab, cd)));
#if HWY_TARGET == HWY_AVX3
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all.raw), _mm512_extractf32x8_ps(all.raw, 1));
    _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
#else
    _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(all.raw), _mm256_extractf128_ps(all.raw, 1)));
#endif
  } else {
    for (int r = 0; r < kRows; ++r) y[r] = hn::GetLane(hn::SumOfLanes(df, sums.row[r]));
  }
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

// What a step's product takes from its activations, apart from the codes: the term −zero · Σ x.
template <class E>
struct StepActivations {
#if !CAIRN_HAS_VNNI
  HWY_INLINE explicit StepActivations(VI8 values) : x(values) {
    if constexpr (E::kZero != 0) zero_term = Dot2(hn::Set(DU8(), E::kZero), x);
  }
  HWY_INLINE VI32 Dot(VU8 codes) const {
    if constexpr (E::kSigned) return Dot4Signed(hn::Zero(DI32()), hn::BitCast(DI8(), codes), x);
    VI16 pairs = Dot2(codes, x);  // within ±63 · 254; the term within ±32 · 254
    if constexpr (E::kZero != 0) pairs = hn::Sub(pairs, zero_term);
    return Dot2(pairs, hn::Set(DI16(), 1));
  }
  VI8 x;
  VI16 zero_term;
#else
  static constexpr uint8_t kShift = E::kSigned ? 128 : E::kZero;  // signed codes become unsigned, 128 more
  HWY_INLINE explicit StepActivations(VI8 values) : x(values), zero_term(hn::Zero(DI32())) {
    if constexpr (kShift != 0) zero_term = hn::Sub(zero_term, Dot4(zero_term, hn::Set(DU8(), kShift), x));
  }
  HWY_INLINE VI32 Dot(VU8 codes) const {
    if constexpr (E::kSigned) codes = hn::Xor(codes, hn::Set(DU8(), 0x80));
    return Dot4(zero_term, codes, x);
  }
  VI8 x;
  VI32 zero_term;
#endif
};

// Activation scales of kCount groups, each repeated for the group's subscales; zeros up to eight groups.
template <int kSubscales, int kCount>
HWY_INLINE void SpreadActivationScales(const float* HWY_RESTRICT x, float* HWY_RESTRICT out) {
  for (int i = 0; i < kChunkGroups; ++i) {
    for (int s = 0; s < kSubscales; ++s) out[i * kSubscales + s] = i < kCount ? x[i] : 0;
  }
}

template <class E, int kCount, int kRows>
HWY_INLINE void GemvChunk(const uint8_t* HWY_RESTRICT p, size_t row_bytes, size_t group,
                          const QuantizedVector& x, RowSums<kRows>& sums) {
  constexpr int kScales = kChunkGroups * E::kSubscales;
  const DF32 df;
  const hn::CappedTag<float, 8> d8;
  alignas(64) float x_scale[kScales], x_sum[kChunkGroups];
  SpreadActivationScales<E::kSubscales, kCount>(x.scales + group, x_scale);
  if constexpr (E::kHasOffset && E::kSubscales == 1) SpreadActivationScales<1, kCount>(x.sums + group, x_sum);

  alignas(64) float scale[kRows][kScales], offset[kRows][kScales];
  Unroll<0, kRows>([&](auto row) CAIRN_LAMBDA {
    constexpr int r = decltype(row)::value;
    E::template Scales<kCount>(p + r * row_bytes, scale[r], offset[r]);
    for (int i = 0; i < kScales; i += static_cast<int>(hn::Lanes(d8))) {
      const auto xs = hn::Load(d8, x_scale + i);
      hn::Store(hn::Mul(hn::Load(d8, scale[r] + i), xs), d8, scale[r] + i);
      if constexpr (E::kHasOffset && E::kSubscales == 2) {
        hn::Store(hn::Mul(hn::Load(d8, offset[r] + i), xs), d8, offset[r] + i);
      }
    }
    if constexpr (E::kHasOffset && E::kSubscales == 1) {
      for (int i = 0; i < kChunkGroups; i += static_cast<int>(hn::Lanes(d8))) {
        const auto product = hn::Mul(hn::Load(d8, offset[r] + i), hn::Load(d8, x_sum + i));
#if HWY_TARGET == HWY_AVX3
        sums.row[r] = hn::Add(sums.row[r], VF32{_mm512_zextps256_ps512(product.raw)});
#else
        sums.row[r] = hn::Add(sums.row[r], product);
#endif
      }
    }
  });
  Unroll<0, Steps(kCount)>([&](auto step) CAIRN_LAMBDA {
    constexpr int kStep = decltype(step)::value;
    const VI8 values = hn::LoadU(DI8(), x.values + group * kGroupSize + kStep * kStepCodes);
    const StepActivations<E> activations(values);
    VF32 value_sums = hn::Zero(df);
    if constexpr (E::kHasOffset && E::kSubscales == 2) {
      value_sums = hn::ConvertTo(df, Dot4(hn::Zero(DI32()), hn::Set(DU8(), 1), values));
    }
    Unroll<0, kRows>([&](auto row) CAIRN_LAMBDA {
      constexpr int r = decltype(row)::value;
      const VI32 dot = activations.Dot(E::template Codes<kStep, kCount>(p + r * row_bytes));
      sums.row[r] =
          hn::MulAdd(hn::ConvertTo(df, dot), SpreadScales<E::kSubscales, kStep>(scale[r]), sums.row[r]);
      if constexpr (E::kHasOffset && E::kSubscales == 2) {
        sums.row[r] = hn::MulAdd(value_sums, SpreadScales<E::kSubscales, kStep>(offset[r]), sums.row[r]);
      }
    });
  });
}

template <class E, int kRows>
HWY_INLINE void GemvRows(const uint8_t* row, size_t row_bytes, size_t k, const QuantizedVector& x, float* y) {
  RowSums<kRows> sums;
  Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA { sums.row[decltype(r)::value] = hn::Zero(DF32()); });
  ForEachChunk<E>(row, k / kGroupSize, [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
    GemvChunk<E, decltype(count)::value, kRows>(p, row_bytes, g, x, sums);
  });
  StoreSums(sums, y);
}

template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x, float* y) {
  const uint8_t* row = static_cast<const uint8_t*>(weights);
  size_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether) {
    GemvRows<E, kRowsTogether>(row + r * row_bytes, row_bytes, k, x, y + r);
  }
  for (; r < rows; ++r) GemvRows<E, 1>(row + r * row_bytes, row_bytes, k, x, y + r);
}

// The same for rows of floats: the activations become floats again, once for all rows of the batch.
template <class E, int kRows>
HWY_INLINE void GemvFloatRows(const uint8_t* row, size_t row_bytes, size_t k, const QuantizedVector& x,
                              float* y) {
  constexpr int kLanes = kStepCodes / 4;
  const DF32 df;
  const hn::Rebind<int8_t, DF32> d8;
  RowSums<kRows> sums;
  Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA { sums.row[decltype(r)::value] = hn::Zero(df); });
  for (size_t i = 0; i < k; i += kGroupSize) {
    const VF32 scale = hn::Set(df, x.scales[i / kGroupSize]);
    Unroll<0, kGroupSize / kLanes>([&](auto part) CAIRN_LAMBDA {
      const size_t at = i + static_cast<size_t>(decltype(part)::value * kLanes);
      const VF32 xs = hn::Mul(scale, hn::ConvertTo(df, hn::PromoteTo(DI32(), hn::LoadU(d8, x.values + at))));
      Unroll<0, kRows>([&](auto row_index) CAIRN_LAMBDA {
        constexpr int r = decltype(row_index)::value;
        sums.row[r] = hn::MulAdd(xs, E::Load(row + r * row_bytes + at * E::kBytes), sums.row[r]);
      });
    });
  }
  StoreSums(sums, y);
}

template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                float* y) {
  const uint8_t* row = static_cast<const uint8_t*>(weights);
  size_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether) {
    GemvFloatRows<E, kRowsTogether>(row + r * row_bytes, row_bytes, k, x, y + r);
  }
  for (; r < rows; ++r) GemvFloatRows<E, 1>(row + r * row_bytes, row_bytes, k, x, y + r);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
