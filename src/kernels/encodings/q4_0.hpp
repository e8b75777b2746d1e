// Q4_0, blocks of 32: w = d * (code - 8). Bytes: d f16, codes[16].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q4_0 : Block<18> {
  static constexpr int kZero = 8;
  static constexpr bool kFourRows = true;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    LoadHalves<kBytes, kCount>(p, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadNibbles<kBytes, Lanes>(p + 2);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
