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
  const auto chunk = E::template Open<kCount>(p);
  Unroll<0, kCount>([&](auto step) CAIRN_LAMBDA {
    StoreValues<E, kCount, decltype(step)::value>(chunk, values + decltype(step)::value * kStepCodes);
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

// What is prepared are the vectors' places: [count], with a rest as many again.
inline size_t PreparedBytes(size_t, size_t count, bool fine) {
  return count * (fine ? 2 : 1) * sizeof(QuantizedVector);
}
inline void Prepare(const VectorBatch& x, size_t, void* prepared) {
  auto* to = static_cast<QuantizedVector*>(prepared);
  for (size_t i = 0; i < x.count; ++i) to[i] = x.x[i];
  for (size_t i = 0; x.rest != nullptr && i < x.count; ++i) to[x.count + i] = x.rest[i];
}

// y = W · x [+ W · rest], a row after the other.
template <void (*kRow)(const uint8_t*, size_t, const QuantizedVector*, size_t, float*)>
void Rows(const void* weights, size_t row_bytes, size_t rows, size_t k, const PreparedBatch& x, float* y,
          size_t y_stride) {
  const auto* inputs = static_cast<const QuantizedVector*>(x.data);
  for (size_t r = 0; r < rows; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes;
    for (size_t first = 0; first < x.count; first += kMostTokens) {
      const size_t left = x.count - first, tokens = left < kMostTokens ? left : kMostTokens;
      float high[kMostTokens], low[kMostTokens];
      kRow(row, k, inputs + first, tokens, high);
      if (x.fine) kRow(row, k, inputs + x.count + first, tokens, low);
      for (size_t i = 0; i < tokens; ++i) y[(first + i) * y_stride + r] = x.fine ? high[i] + low[i] : high[i];
    }
  }
}
template <class E>
constexpr auto Gemv = Rows<GemvRow<E>>;
template <class E>
constexpr auto GemvFloats = Rows<GemvFloatRow<E>>;

}  // namespace cairn::kernels::CAIRN_TARGET
