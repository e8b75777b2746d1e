// TQ1_0 and TQ2_0: −1, 0 and 1 times the largest number, bit for bit as the gguf package writes them; made
// for models whose weights are such.
#pragma once

#include "base/half.hpp"
#include "kernels/quantizers/packing.hpp"
#include "kernels/quantizers/super_blocks.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// Trits from 0 to 2; returns the scale. Ties away from zero.
HWY_INLINE uint16_t Trits(const float* x, uint8_t* trits) {
  F8 sizes{};
  for (size_t i = 0; i < kSuper; i += kF8) sizes = Max(sizes, Abs(Load(x + i)));
  const float d = Most(sizes), inverse = d != 0 ? 1 / d : 0;
  for (size_t i = 0; i < kSuper; i += kF8) {
    const F8 v = Load(x + i) * inverse;
    StoreBytes(1 + (I8)(v <= -0.5f) - (I8)(v >= 0.5f), trits + i);
  }
  return to_half(d);
}

// Five trits (or four) `apart` numbers from each other a byte, as the fraction of 256 that has these digits.
HWY_INLINE void PackTrits(const uint8_t* trits, int count, int apart, uint8_t* to) {
  for (int i = 0; i < apart; ++i) {
    int value = 0;
    for (int n = 0; n < 5; ++n) value = value * 3 + (n < count ? trits[i + n * apart] : 0);
    to[i] = static_cast<uint8_t>((value * 256 + 242) / 243);
  }
}

inline void QuantizeTQ1_0(const float* x, const float*, size_t elements, void* blocks) {
  uint8_t* to = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += kSuper, to += 54) {
    uint8_t trits[kSuper];
    StoreScale(to + 52, Trits(x + at, trits));
    PackTrits(trits, 5, 32, to);
    PackTrits(trits + 160, 5, 16, to + 32);
    PackTrits(trits + 240, 4, 4, to + 48);
  }
}

inline void QuantizeTQ2_0(const float* x, const float*, size_t elements, void* blocks) {
  uint8_t* to = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += kSuper, to += 66) {
    uint8_t trits[kSuper];
    StoreScale(to + 64, Trits(x + at, trits));
    PackFields<2, 0, 4, 1>(trits, to);
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
