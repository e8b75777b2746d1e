// Q8_0, blocks of 32: w = d * code. Bytes: d f16, codes s8[32].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q8_0 : Block<34> {
  static constexpr bool kSigned = true;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    LoadHalves<kBytes, kCount>(p, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadGroups<kBytes, Lanes>(p + 2);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
