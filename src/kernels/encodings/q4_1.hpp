// Q4_1, blocks of 32: w = d * code + m. Bytes: d f16, m f16, codes[16].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q4_1 : Block<20> {
  static constexpr bool kHasOffset = true;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* offset) {
    LoadHalfPairs<kBytes, kCount>(p, scale, offset);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadNibbles<kBytes, Lanes>(p + 4);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
