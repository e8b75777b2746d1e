// Q3_K, blocks of 256: w = d * (scale - 32) * (code - 4), scale of 6 bits for each 16.
// Bytes: third bits[32], low bits[64], scales[12], d f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q3_K : Block<110, 8> {
  static constexpr int kSubscales = 2, kZero = 4, kMostCode = 7;
  struct Low {
    static constexpr int Offset(int g) { return 32 + g / 4 * 32; }
    static constexpr int Shift(int g) { return g % 4 * 2; }
    static constexpr uint8_t kMask = 3;
  };
  struct High {
    static constexpr int Offset(int) { return 0; }
    static constexpr int Shift(int g) { return g - 2; }
    static constexpr uint8_t kMask = 4;
  };
  // Low nibbles of scales 0–7 and 8–15 share bytes 0–7; bytes 8–11 hold the upper two bits, four scales a
  // byte: scale i's lie 2 · (i / 4) up in byte 8 + i % 4.
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const uint64_t low = LoadScalar<uint64_t>(p + 96);
    const uint64_t high = LoadScalar<uint32_t>(p + 104);
    const uint64_t nibbles = 0x0F0F0F0F0F0F0F0F, pairs = 0x03030303;
    const uint64_t first = (low & nibbles) | ((high & pairs) | (high >> 2 & pairs) << 32) << 4;
    const uint64_t last = (low >> 4 & nibbles) | ((high >> 4 & pairs) | (high >> 6 & pairs) << 32) << 4;
    ScaleBytes<16, int8_t>(SubtractFromBytes<32>(first), SubtractFromBytes<32>(last), LoadHalf(p + 108),
                           scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return Or(LoadField<Low, Lanes>(p), LoadField<High, Lanes>(p));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
