// F32: IEEE 754 binary32.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct F32 {
  static constexpr int kBytes = 4;
  static constexpr bool kIsFloat = true;
#if CAIRN_ISA_X86
  static HWY_INLINE VF32 Load(const uint8_t* p) {
    return hn::BitCast(DF32(), hn::LoadU(DU8(), p));
  }
#endif
  static HWY_INLINE float LoadOne(const uint8_t* p) {
    return LoadScalar<float>(p);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
