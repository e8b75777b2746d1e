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
    // Pairs of bits are spread as nibbles are.
    const uint64_t low = SpreadNibbles(LoadScalar<uint32_t>(p + 4));
    uint64_t high = LoadScalar<uint16_t>(p + 2);
    high = (high | high << 24) & 0x000000FF000000FF;
    high = (high | high << 12) & 0x000F000F000F000F;
    high = (high | high << 6) & 0x0303030303030303;
    ScaleBytes<8, int8_t>(SubtractFromBytes<32>(low | high << 4), 0, LoadHalf(p), scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LookUp(kNonLinear4, LoadNibbles<16, Lanes>(p + 8));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
