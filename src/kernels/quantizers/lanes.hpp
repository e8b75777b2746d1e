// Eight floats at once, alike on every instruction set: sums are in one order, nothing is fused, so that a
// model has the same bytes wherever it is quantised.
#pragma once

#include <hwy/base.h>

#include <cstddef>
#include <cstdint>

// Vectors wider than registers are passed to no function that is not inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace cairn::kernels::CAIRN_TARGET {

typedef float F8 __attribute__((vector_size(32)));
typedef int32_t I8 __attribute__((vector_size(32)));
typedef uint8_t B8 __attribute__((vector_size(8)));
constexpr size_t kF8 = 8;

HWY_INLINE F8 All(float v) {
  return F8{v, v, v, v, v, v, v, v};
}
HWY_INLINE F8 Load(const float* p) {
  F8 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
HWY_INLINE F8 Min(F8 a, F8 b) {
  return a < b ? a : b;
}
HWY_INLINE F8 Max(F8 a, F8 b) {
  return a > b ? a : b;
}
HWY_INLINE F8 Abs(F8 v) {
  return (F8)((I8)v & 0x7fffffff);
}
HWY_INLINE F8 Clamp(F8 v, float least, float most) {
  return Min(Max(v, All(least)), All(most));
}
// Ties to even; |v| < 2^22.
HWY_INLINE F8 Nearest(F8 v) {
  return (v + 12582912.0f) - 12582912.0f;
}
HWY_INLINE float Nearest(float v) {
  return (v + 12582912.0f) - 12582912.0f;
}
HWY_INLINE I8 ToIntegers(F8 v) {
  return __builtin_convertvector(v, I8);
}
HWY_INLINE void StoreBytes(I8 v, uint8_t* to) {
  const B8 bytes = __builtin_convertvector(v, B8);
  __builtin_memcpy(to, &bytes, sizeof bytes);
}
HWY_INLINE float Sum(F8 v) {
  return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}
HWY_INLINE float Most(F8 v) {
  float most = v[0];
  for (int i = 1; i < 8; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

}  // namespace cairn::kernels::CAIRN_TARGET
