// Decode's matrix-vector product on the blocks as they lie in the file, for any encoding that lanes.hpp
// describes.
//
// For each group of 32 the integer product of codes and activations is exact; it is then scaled and summed in
// float: y = Σ_g scale_g · xscale_g · (Σ code · x − zero · Σ x) + Σ_g offset_g · (xscale_g · Σ x).
// Rows go one after another: hardware prefetchers follow one stream well, but not four at a row's distance
// (measured on Zen 5: 27 GB/s against 9–18). What depends on the activations alone is made once for all rows.
#pragma once

#include "kernels/encodings/activations_x86.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kRowsTogether = 4;  // rows whose lanes are summed at once
// Ahead of the block at hand; crosses the page ends where hardware stops.
constexpr size_t kPrefetchBytes = 4096;

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

// A row's sums in two vectors, so that two chains of additions run at once.
struct RowSums {
  VF32 even, odd;
};

// acc + a · b for eight floats.
HWY_INLINE VF32 AddEight(VF32 acc, const float* a, const float* b) {
#if HWY_TARGET == HWY_AVX3
  return VF32{_mm512_fmadd_ps(_mm512_zextps256_ps512(_mm256_load_ps(a)),
                              _mm512_zextps256_ps512(_mm256_loadu_ps(b)), acc.raw)};
#else
  return VF32{_mm256_fmadd_ps(_mm256_load_ps(a), _mm256_loadu_ps(b), acc.raw)};
#endif
}

// sums + the products of a chunk with kInputs activations.
template <class E, int kCount, int kInputs>
HWY_INLINE RowSums GemvChunk(const uint8_t* HWY_RESTRICT p, size_t group, const Activations<E>* x,
                             RowSums sums) {
  using A = Activations<E>;
  constexpr int kScales = kChunkGroups * E::kSubscales;
  const DF32 df;
  const hn::FixedTag<float, 8> d8;
  alignas(64) float scale[kScales], offset[kScales];
  alignas(64) float scaled[kInputs][kScales];  // scale · that of the activations
  E::template Scales<kCount>(p, scale, offset);
  if constexpr (E::kHasOffset && A::kMissing != 0) {
    const auto missing = hn::Set(d8, A::kMissing);
    hn::Store(hn::MulAdd(hn::Load(d8, scale), missing, hn::Load(d8, offset)), d8, offset);
  }
  Unroll<0, kInputs>([&](auto i) CAIRN_LAMBDA {
    constexpr int kInput = decltype(i)::value;
    const A& input = x[kInput];
    if constexpr (E::kHasOffset) {
      const float* x_sums = A::kHalves ? input.half_sums + 2 * group : input.sums + group;
      sums.odd = AddEight(sums.odd, offset, x_sums);
      if constexpr (A::kHalves) sums.even = AddEight(sums.even, offset + 8, x_sums + 8);
    }
    const auto x_scales = hn::LoadU(d8, input.scales + group);
    if constexpr (A::kHalves) {
      const __m256 low = _mm256_unpacklo_ps(x_scales.raw, x_scales.raw),
                   high = _mm256_unpackhi_ps(x_scales.raw, x_scales.raw);
      const decltype(x_scales) first{_mm256_permute2f128_ps(low, high, 0x20)},
          last{_mm256_permute2f128_ps(low, high, 0x31)};
      hn::Store(hn::Mul(hn::Load(d8, scale), first), d8, scaled[kInput]);
      hn::Store(hn::Mul(hn::Load(d8, scale + 8), last), d8, scaled[kInput] + 8);
    } else {
      hn::Store(hn::Mul(hn::Load(d8, scale), x_scales), d8, scaled[kInput]);
    }
  });
  const auto codes = [&](auto lanes) CAIRN_LAMBDA { return E::template Codes<decltype(lanes)>(p); };
  Unroll<0, A::template kVectors<kCount>>([&](auto i) CAIRN_LAMBDA {
    constexpr int kIndex = decltype(i)::value;
    VI32 dots[kInputs];
    A::template Dots<kIndex, kCount>(x, group, codes, dots);
    Unroll<0, kInputs>([&](auto j) CAIRN_LAMBDA {
      constexpr int kInput = decltype(j)::value;
      VF32& sum = (kIndex + kInput) % 2 == 0 ? sums.even : sums.odd;
      sum = hn::MulAdd(hn::ConvertTo(df, dots[kInput]),
                       SpreadScales<E::kSubscales, kIndex, kCount>(scaled[kInput]), sum);
    });
  });
  return sums;
}

template <class E, int kInputs>
HWY_INLINE void GemvSlice(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                          const Activations<E>* x, bool add, float* y) {
  const DF32 df;
  alignas(64) float lanes[kRowsTogether * kVectorBytes / 4] = {};
  for (size_t r = 0; r < rows; ++r) {
    RowSums sums{hn::Zero(df), hn::Zero(df)};
    ForEachChunk<E>(weights + r * row_bytes, groups,
                    [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
                      constexpr int kCount = decltype(count)::value, kBytes = E::kBytes * kCount / E::kGroups;
                      for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kPrefetchBytes + i);
                      sums = GemvChunk<E, kCount, kInputs>(p, g, x, sums);
                    });
    const size_t in_batch = r % kRowsTogether;
    hn::Store(hn::Add(sums.even, sums.odd), df, lanes + in_batch * kVectorBytes / 4);
    if (in_batch + 1 == kRowsTogether || r + 1 == rows)
      StoreSums(lanes, in_batch + 1, add, y + (r - in_batch));
  }
}

template <class E, int kInputs>
HWY_INLINE void GemvInputs(const void* weights, size_t row_bytes, size_t rows, size_t k,
                           const QuantizedVector* x, float* y) {
  constexpr size_t kSliceBytes = kSlice / (kGroupSize * E::kGroups) * E::kBytes;
  const uint8_t* column = static_cast<const uint8_t*>(weights);
  for (size_t begin = 0; begin < k; begin += kSlice, column += kSliceBytes) {
    const size_t groups = (k - begin < kSlice ? k - begin : kSlice) / kGroupSize;
    Activations<E> prepared[kInputs];
    for (int i = 0; i < kInputs; ++i) prepared[i].Prepare(x[i], begin / kGroupSize, groups);
    GemvSlice<E, kInputs>(column, row_bytes, rows, groups, prepared, begin != 0, y);
  }
}
template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x, float* y) {
  GemvInputs<E, 1>(weights, row_bytes, rows, k, &x, y);
}
template <class E>
void GemvPair(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
              const QuantizedVector& rest, float* y) {
  const QuantizedVector both[2] = {x, rest};
  GemvInputs<E, 2>(weights, row_bytes, rows, k, both, y);
}

// The same for rows of floats: the activations become floats again, for two rows at a time.
template <class E>
void GemvFloatInputs(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector* x,
                     size_t inputs, float* y) {
  const DF32 df;
  const hn::Rebind<int8_t, DF32> d8;
  constexpr size_t kLanes = kVectorBytes / 4;
  alignas(64) float activations[kSlice];
  for (size_t begin = 0; begin < k; begin += kSlice) {
    const size_t count = k - begin < kSlice ? k - begin : kSlice;
    for (size_t i = 0; i < count; i += kLanes) {
      VF32 sum = hn::Zero(df);
      for (size_t input = 0; input < inputs; ++input) {
        const VF32 v = hn::ConvertTo(df, hn::PromoteTo(DI32(), hn::LoadU(d8, x[input].values + begin + i)));
        sum = hn::MulAdd(v, hn::Set(df, x[input].scales[(begin + i) / kGroupSize]), sum);
      }
      hn::Store(sum, df, activations + i);
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

template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                float* y) {
  GemvFloatInputs<E>(weights, row_bytes, rows, k, &x, 1, y);
}
template <class E>
void GemvFloatsPair(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                    const QuantizedVector& rest, float* y) {
  const QuantizedVector both[2] = {x, rest};
  GemvFloatInputs<E>(weights, row_bytes, rows, k, both, 2, y);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
