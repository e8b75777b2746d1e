// Q2_K, blocks of 256: w = d * scale * code - dmin * min, scale and min of 4 bits for each 16.
// Bytes: scales (low nibbles) and mins (high)[16], codes[64], d f16, dmin f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q2_K : Block<84, 8> {
  static constexpr int kSubscales = 2;
  static constexpr bool kHasOffset = true;
  struct Low {
    static constexpr int Offset(int g) { return 16 + g / 4 * 32; }
    static constexpr int Shift(int g) { return g % 4 * 2; }
    static constexpr uint8_t kMask = 3;
  };
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* offset) {
    uint64_t words[4];
    __builtin_memcpy(words, p, 16);
    for (int i = 0; i < 2; ++i) {
      words[2 + i] = words[i] >> 4 & 0x0F0F0F0F0F0F0F0F;
      words[i] &= 0x0F0F0F0F0F0F0F0F;
    }
    uint8_t values[32];
    __builtin_memcpy(values, words, 32);
    ScaleBytes<16>(values, LoadHalf(p + 80), scale);
    ScaleBytes<16>(values + 16, -LoadHalf(p + 82), offset);
  }
  template <int kStep, int kCount>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadField<Low, kStep>(p);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
