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

constexpr size_t kMostTokens = 8;  // that share the decoding of a block

// sums[i] += the chunk's product with token i.
template <class E, int kCount>
HWY_INLINE void GemvChunk(const uint8_t* p, size_t group, const QuantizedVector* x, size_t tokens,
                          float* HWY_RESTRICT sums) {
  constexpr int kPart = kGroupSize / E::kSubscales;
  float scale[kChunkGroups * E::kSubscales], offset[kChunkGroups * E::kSubscales];
  E::template Scales<kCount>(p, scale, offset);
  int8_t values[kCount * kGroupSize];
  Unroll<0, kCount>([&](auto step) CAIRN_LAMBDA {
    StoreValues<E, kCount, decltype(step)::value>(p, values + decltype(step)::value * kStepCodes);
  });
  for (size_t token = 0; token < tokens; ++token) {
    float sum = 0;
    for (int step = 0; step < kCount; ++step) {
      const size_t g = group + static_cast<size_t>(step);
      float group_sum = 0;
      for (int s = 0; s < E::kSubscales; ++s) {
        const int8_t* part = x[token].values + g * kGroupSize + s * kPart;
        const int at = step * E::kSubscales + s;
        group_sum += scale[at] * static_cast<float>(DotValues<kPart>(values + at * kPart, part));
        if constexpr (E::kHasOffset) {
          int32_t total = 0;
          for (int i = 0; i < kPart; ++i) total += part[i];
          group_sum += offset[at] * static_cast<float>(total);
        }
      }
      sum += group_sum * x[token].scales[g];
    }
    sums[token] += sum;
  }
}

// A row's products with up to kMostTokens tokens.
template <class E>
void GemvRow(const uint8_t* row, size_t k, const QuantizedVector* x, size_t tokens, float* sums) {
  for (size_t i = 0; i < tokens; ++i) sums[i] = 0;
  ForEachChunk<E>(row, k / kGroupSize, [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
    GemvChunk<E, decltype(count)::value>(p, g, x, tokens, sums);
  });
}

template <class E>
void GemvFloatRow(const uint8_t* row, size_t k, const QuantizedVector* x, size_t tokens, float* out) {
  constexpr int kSums = 8;  // separate ones, or the additions could not be vectorised
  for (size_t token = 0; token < tokens; ++token) {
    float sums[kSums] = {};
    for (size_t i = 0; i < k; i += kSums) {
      const float scale = x[token].scales[i / kGroupSize];
      for (int j = 0; j < kSums; ++j) {
        const size_t at = i + static_cast<size_t>(j);
        sums[j] += E::LoadOne(row + at * E::kBytes) * (scale * static_cast<float>(x[token].values[at]));
      }
    }
    out[token] = 0;
    for (const float s : sums) out[token] += s;
  }
}

// y = W · x [+ W · rest], a row after the other.
template <void (*kRow)(const uint8_t*, size_t, const QuantizedVector*, size_t, float*)>
void Rows(const void* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x, float* y,
          size_t y_stride) {
  for (size_t r = 0; r < rows; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes;
    for (size_t first = 0; first < x.count; first += kMostTokens) {
      const size_t left = x.count - first, tokens = left < kMostTokens ? left : kMostTokens;
      float high[kMostTokens], low[kMostTokens];
      kRow(row, k, x.x + first, tokens, high);
      if (x.rest != nullptr) kRow(row, k, x.rest + first, tokens, low);
      for (size_t i = 0; i < tokens; ++i)
        y[(first + i) * y_stride + r] = x.rest == nullptr ? high[i] : high[i] + low[i];
    }
  }
}
template <class E>
constexpr auto GemvBatch = Rows<GemvRow<E>>;
template <class E>
constexpr auto GemvFloatsBatch = Rows<GemvFloatRow<E>>;

template <auto kBatch>
void OneToken(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
              float* y) {
  kBatch(weights, row_bytes, rows, k, {&x, nullptr, 1}, y, 0);
}
template <auto kBatch>
void OnePair(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
             const QuantizedVector& rest, float* y) {
  kBatch(weights, row_bytes, rows, k, {&x, &rest, 1}, y, 0);
}
template <class E>
constexpr auto Gemv = OneToken<GemvBatch<E>>;
template <class E>
constexpr auto GemvPair = OnePair<GemvBatch<E>>;
template <class E>
constexpr auto GemvFloats = OneToken<GemvFloatsBatch<E>>;
template <class E>
constexpr auto GemvFloatsPair = OnePair<GemvFloatsBatch<E>>;

}  // namespace cairn::kernels::CAIRN_TARGET
