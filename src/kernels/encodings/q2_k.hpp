// Q2_K, blocks of 256: w = d * scale * code - dmin * min, scale and min of 4 bits for each 16.
// Bytes: scales (low nibbles) and mins (high)[16], codes[64], d f16, dmin f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q2_K : Block<84, 8> {
  static constexpr int kSubscales = 2, kMostCode = 3;
  static constexpr bool kHasOffset = true;
  struct Low {
    static constexpr int Offset(int g) { return 16 + g / 4 * 32; }
    static constexpr int Shift(int g) { return g % 4 * 2; }
    static constexpr uint8_t kMask = 3;
  };
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* offset) {
    const uint64_t nibbles = 0x0F0F0F0F0F0F0F0F;
    const uint64_t a = LoadScalar<uint64_t>(p), b = LoadScalar<uint64_t>(p + 8);
    ScaleBytes<16, uint8_t>(a & nibbles, b & nibbles, LoadHalf(p + 80), scale);
    ScaleBytes<16, uint8_t>(a >> 4 & nibbles, b >> 4 & nibbles, -LoadHalf(p + 82), offset);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadField<Low, Lanes>(p);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
