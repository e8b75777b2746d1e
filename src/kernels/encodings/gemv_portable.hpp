// Decode's matrix-vector product in plain loops; the sums are those of gemv_x86.hpp, a row at a time.
#pragma once

#include "kernels/encodings/unpack.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// Σ values · x over kCount neighbours: 16-bit products, as SSE2's and NEON's multiply-add take them.
template <int kCount>
HWY_INLINE int32_t DotValues(const int8_t* HWY_RESTRICT values, const int8_t* HWY_RESTRICT x) {
  int32_t sum = 0;
  for (int i = 0; i < kCount; ++i) sum += static_cast<int16_t>(values[i]) * static_cast<int16_t>(x[i]);
  return sum;
}

template <class E, int kCount>
HWY_INLINE float GemvChunk(const uint8_t* p, size_t group, const QuantizedVector& x) {
  constexpr int kPart = kGroupSize / E::kSubscales;
  float scale[kChunkGroups * E::kSubscales], offset[kChunkGroups * E::kSubscales];
  E::template Scales<kCount>(p, scale, offset);
  float sum = 0;
  Unroll<0, kCount>([&](auto step) CAIRN_LAMBDA {
    constexpr int kStep = decltype(step)::value;
    const size_t g = group + kStep;
    int8_t values[kStepCodes];
    StoreValues<E, kCount, kStep>(p, values);
    float group_sum = 0;
    for (int s = 0; s < E::kSubscales; ++s) {
      const int8_t* part = x.values + g * kGroupSize + s * kPart;
      const int at = kStep * E::kSubscales + s;
      group_sum += scale[at] * static_cast<float>(DotValues<kPart>(values + s * kPart, part));
      if constexpr (E::kHasOffset) {
        int32_t total = 0;
        for (int i = 0; i < kPart; ++i) total += part[i];
        group_sum += offset[at] * static_cast<float>(total);
      }
    }
    sum += group_sum * x.scales[g];
  });
  return sum;
}

template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x, float* y) {
  for (size_t r = 0; r < rows; ++r) {
    float sum = 0;
    ForEachChunk<E>(static_cast<const uint8_t*>(weights) + r * row_bytes, k / kGroupSize,
                    [&](const uint8_t* p, size_t g, auto count)
                        CAIRN_LAMBDA { sum += GemvChunk<E, decltype(count)::value>(p, g, x); });
    y[r] = sum;
  }
}

template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                float* y) {
  constexpr int kSums = 8;  // separate ones, or the additions could not be vectorised
  for (size_t r = 0; r < rows; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes;
    float sums[kSums] = {};
    for (size_t i = 0; i < k; i += kSums) {
      const float scale = x.scales[i / kGroupSize];
      for (int j = 0; j < kSums; ++j) {
        const size_t at = i + static_cast<size_t>(j);
        sums[j] += E::LoadOne(row + at * E::kBytes) * (scale * static_cast<float>(x.values[at]));
      }
    }
    float sum = 0;
    for (const float s : sums) sum += s;
    y[r] = sum;
  }
}

// y = W · x + W · rest, a row after the other.
template <void (*kGemv)(const void*, size_t, size_t, size_t, const QuantizedVector&, float*)>
void BothRows(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
              const QuantizedVector& rest, float* y) {
  for (size_t r = 0; r < rows; ++r) {
    const auto* row = static_cast<const uint8_t*>(weights) + r * row_bytes;
    float low;
    kGemv(row, row_bytes, 1, k, x, y + r);
    kGemv(row, row_bytes, 1, k, rest, &low);
    y[r] += low;
  }
}
template <class E>
constexpr auto GemvPair = BothRows<Gemv<E>>;
template <class E>
constexpr auto GemvFloatsPair = BothRows<GemvFloats<E>>;

}  // namespace cairn::kernels::CAIRN_TARGET
