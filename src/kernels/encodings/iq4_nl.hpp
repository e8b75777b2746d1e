// IQ4_NL, blocks of 32: w = d * table[code]. Bytes: d f16, codes[16].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

alignas(16) constexpr int8_t kNonLinear4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                1,    13,   25,  38,  53,  69,  89,  113};

struct IQ4_NL : Block<18> {
  static constexpr bool kSigned = true;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    LoadHalves<kBytes, kCount>(p, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LookUp(kNonLinear4, LoadNibbles<kBytes, Lanes>(p + 2));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
