// The grids on which a quantised network's scales, ranges and biases lie: each is a byte in the file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/half.hpp"
#include "video/network.hpp"

namespace cairn::video {

// Scales and activations' ranges: eight an octave, 2^(code / 8) rounded to binary16, from 2⁻¹⁴ to 4 for codes
// in [-112, 16] and 0 for code -128. scale_code() takes any float to the nearest of them (upwards in ratio).
inline float scale_value(int8_t code) {
  if (code == -128) return 0;
  return round_to_half(std::exp2(static_cast<float>(std::clamp<int>(code, -112, 64)) / 8));
}
inline int8_t scale_code(float scale) {
  if (!(scale > 0)) return -128;
  return static_cast<int8_t>(std::clamp(std::nearbyint(8 * std::log2(scale)), -112.0f, 64.0f));
}

// Biases are multiples of 2^exponent, at most 127 of them.
inline int bias_exponent(const Layer& layer) {
  float most = 0;
  for (const float bias : layer.bias) most = std::max(most, std::abs(bias));
  int exponent = -24;
  if (most > 0) std::frexp(most / 127, &exponent);
  // The quotient is rounded, and frexp() gives powers of two the exponent above theirs.
  if (most > 127 * std::ldexp(1.0f, exponent)) ++exponent;
  if (most <= 127 * std::ldexp(1.0f, exponent - 1)) --exponent;
  return std::clamp(exponent, -24, 8);
}
inline float bias_unit(const Layer& layer) {
  return std::ldexp(1.0f, bias_exponent(layer));
}

}  // namespace cairn::video
