// IEEE 754 binary16 as files store it. (Loops over many convert by SIMD, in kernels/.)
#pragma once

#include <cstdint>

namespace cairn {

// The nearest binary16, ties to even: what is too large is infinite, NaN is a quiet one.
uint16_t to_half(float value);
// Exact.
float from_half(uint16_t bits);

inline float round_to_half(float value) {
  return from_half(to_half(value));
}

}  // namespace cairn
