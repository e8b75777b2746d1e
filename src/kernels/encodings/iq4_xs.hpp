// IQ4_XS, blocks of 256: w = d * (scale - 32) * table[code], scale of 6 bits for each 32.
// Bytes: d f16, upper two bits of the scales u16, their low nibbles[4], codes[128].
#pragma once

#include "kernels/encodings/iq4_nl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ4_XS : Block<136, 8> {
  static constexpr bool kSigned = true;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const uint32_t high = LoadScalar<uint16_t>(p + 2), low = LoadScalar<uint32_t>(p + 4);
    int8_t values[8];
    for (int i = 0; i < 8; ++i) {
      values[i] = static_cast<int8_t>((low >> 4 * i & 15) | (high >> 2 * i & 3) << 4) - 32;
    }
    ScaleBytes<8>(values, LoadHalf(p), scale);
  }
  template <int kStep, int kCount>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LookUp(kNonLinear4, LoadNibbles<16, kStep, kCount>(p + 8));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
