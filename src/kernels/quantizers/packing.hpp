// Codes into the bytes of a block; where each bit goes is said in kernels/encodings/ (ggml-common.h).
#pragma once

#include "kernels/quantizers/lanes.hpp"

namespace cairn::kernels::CAIRN_TARGET {

HWY_INLINE void StoreScale(uint8_t* at, uint16_t half) {
  __builtin_memcpy(at, &half, 2);
}

// Codes 0–15 are the low nibbles, 16–31 the high ones.
HWY_INLINE void PackNibbles(const uint8_t* codes, uint8_t* to) {
  for (int i = 0; i < 16; ++i) to[i] = static_cast<uint8_t>((codes[i] & 15) | codes[i + 16] << 4);
}
// Bit i of 32 is the fifth of code i.
HWY_INLINE void PackFifthBits(const uint8_t* codes, uint8_t* to) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(codes[i] >> 4 & 1) << i;
  __builtin_memcpy(to, &bits, 4);
}

// K-quants' fields: group g of 32 codes, its bits from `from` on, kBits of them, go into the 32 bytes that it
// shares with the kShared − 1 groups kApart away from each other.
template <int kBits, int kFrom, int kShared, int kApart>
HWY_INLINE void PackFields(const uint8_t* codes, uint8_t* to) {
  constexpr int kBytes = 8 / kShared * 32;
  for (int i = 0; i < kBytes; ++i) to[i] = 0;
  for (int g = 0; g < 8; ++g) {
    const int block = g / (kShared * kApart) * kApart + g % kApart, field = g / kApart % kShared;
    for (int i = 0; i < 32; ++i)
      to[32 * block + i] = static_cast<uint8_t>(
          to[32 * block + i] | (codes[32 * g + i] >> kFrom & ((1 << kBits) - 1)) << (kBits * field));
  }
}

// Q4_K's and Q5_K's eight scales and minimums of 6 bits in 12 bytes.
HWY_INLINE void PackScalesAndMins(const uint8_t* scales, const uint8_t* mins, uint8_t* to) {
  for (int g = 0; g < 4; ++g) {
    to[g] = static_cast<uint8_t>(scales[g] | scales[g + 4] >> 4 << 6);
    to[g + 4] = static_cast<uint8_t>(mins[g] | mins[g + 4] >> 4 << 6);
    to[g + 8] = static_cast<uint8_t>((scales[g + 4] & 15) | (mins[g + 4] & 15) << 4);
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
