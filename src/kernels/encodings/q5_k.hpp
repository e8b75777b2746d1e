// Q5_K, blocks of 256: w = d * scale * code - dmin * min, scale and min of 6 bits for each 32.
// Bytes: d f16, dmin f16, scales and mins[12], fifth bits[32], low bits[128].
#pragma once

#include "kernels/encodings/q4_k.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q5_K : Block<176, 8> {
  static constexpr int kMostCode = 31;
  static constexpr bool kHasOffset = true;
  struct Low {
    static constexpr int Offset(int g) { return 48 + g / 2 * 32; }
    static constexpr int Shift(int g) { return g % 2 * 4; }
    static constexpr uint8_t kMask = 15;
  };
  struct High {
    static constexpr int Offset(int) { return 16; }
    static constexpr int Shift(int g) { return g - 4; }
    static constexpr uint8_t kMask = 16;
  };
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* offset) {
    LoadScalesAndMins(p, scale, offset);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return Or(LoadField<Low, Lanes>(p), LoadField<High, Lanes>(p));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
