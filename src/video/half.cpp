// binary16 as stored in attachments.
#include "video/half.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cairn::video {

float from_half(uint16_t bits) {
  const uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31) return std::bit_cast<float>((bits & 0x8000u) << 16 | 0x7F800000u | mantissa << 13);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), static_cast<int>(exponent) - 25);
}

uint16_t to_half(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::min(std::abs(value), 65504.0f);
  if (magnitude == 0 || std::isnan(magnitude)) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = m · 2^exponent, m in [1/2, 1)
  const int step = std::max(exponent - 11, -24);
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -step)));  // ≤ 2,048
  // The fields carry into one another: 2,048 steps of one size are 1,024 of the next.
  return static_cast<uint16_t>(sign + (static_cast<uint32_t>(step + 24) << 10) + steps);
}

float round_to_half(float value) {
  return from_half(to_half(value));
}

}  // namespace cairn::video
