// What packed rows of the cache hold, read by hand.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/vector.hpp"

namespace cairn::kernels {

// Levels of rows of 4 and 5 bits (targets/kv_q4.hpp), by code.
inline constexpr int kLevels[2][16] = {
    {6, 18, 31, 44, 58, 75, 96, 127, -6, -18, -31, -44, -58, -75, -96, -127},
    {3, 8, 13, 18, 24, 29, 35, 41, 47, 54, 61, 70, 79, 90, 105, 127}};

inline float q4_scale(const std::byte* scales, size_t i, size_t n) {
  const std::byte* at = scales + i / kQ4Group * 2;
  if (i / kQ4Group == n / kQ4Group) {  // the rest of a row: a byte
    const auto code = static_cast<uint8_t>(*at);
    if (code == 255) return NAN;
    return code == 0 ? 0 : std::ldexp(static_cast<float>(8 + (code + 855) % 8), (code + 855) / 8 - 127 - 3);
  }
  uint16_t half;
  std::memcpy(&half, at, 2);
  const uint32_t bits = uint32_t{half} << 16;
  float scale;
  std::memcpy(&scale, &bits, 4);
  return scale;
}
inline float packed_element(KvFormat format, const std::byte* row, const std::byte* scales, size_t i,
                            size_t n) {
  const size_t block = i / 32 * 32, half = (std::min<size_t>(32, n - block) + 1) / 2;
  const auto both = static_cast<uint8_t>(row[block / 2 + (i - block) % half]);
  const size_t code = i - block < half ? both & 15 : both >> 4;
  const bool negative =
      format == KvFormat::q5 && (static_cast<uint8_t>(row[(n + 1) / 2 + i / 8]) >> i % 8 & 1) != 0;
  const auto level = static_cast<float>(kLevels[format == KvFormat::q5][code]);
  return q4_scale(scales, i, n) * (negative ? -level : level);
}

}  // namespace cairn::kernels
