// How much the squared error of each number of a block counts.
#pragma once

#include "kernels/quantizers/lanes.hpp"

namespace cairn::kernels::CAIRN_TARGET {

HWY_INLINE F8 Root(F8 v) {
  for (int i = 0; i < 8; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
}

HWY_INLINE float MeanSquare(const float* x, size_t count) {
  F8 squares{};
  for (size_t i = 0; i < count; i += kF8) squares += Load(x + i) * Load(x + i);
  return Sum(squares) / static_cast<float>(count);
}

// The importance alone where there is one: the error of a product is what counts. llama.cpp multiplies it by
// √(variance + x²), which is worse (docs/encode.md). Without, that root: numbers that are large count more.
// variance: the mean square of what is around, a block of 256 or a row of shorter ones. Scaled to a mean of
// 1, so that sums neither overflow nor vanish.
template <int N>
HWY_INLINE void Weigh(const float* x, const float* importance, float variance, float* HWY_RESTRICT w) {
  F8 all{};
  for (size_t i = 0; i < N; i += kF8) {
    const F8 weight =
        importance != nullptr ? Load(importance + i) : Root(variance + Load(x + i) * Load(x + i));
    all += weight;
    __builtin_memcpy(w + i, &weight, sizeof weight);
  }
  const float sum = Sum(all);
  const bool usable = sum > 1e-30f && sum < 3e38f;  // and its inverse
  for (size_t i = 0; i < N; ++i) w[i] = usable ? w[i] * (N / sum) : 1;
}

}  // namespace cairn::kernels::CAIRN_TARGET
