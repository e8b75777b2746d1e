// Q5_0, blocks of 32: w = d * (code - 16). Bytes: d f16, fifth bits u32, low bits[16].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q5_0 : Block<22> {
  static constexpr int kZero = 16, kMostCode = 31;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    LoadHalves<kBytes, kCount>(p, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return AddFifthBits<kBytes, Lanes>(LoadNibbles<kBytes, Lanes>(p + 6), p + 2);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
