// BF16: the upper half of IEEE 754 binary32.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct BF16 {
  static constexpr int kBytes = 2;
  static constexpr bool kIsFloat = true;
#if CAIRN_ISA_X86
  static HWY_INLINE VF32 Load(const uint8_t* p) {
    const hn::Rebind<uint16_t, DF32> d16;
    const auto halves = hn::BitCast(d16, hn::LoadU(hn::Repartition<uint8_t, decltype(d16)>(), p));
    return hn::BitCast(DF32(), hn::ShiftLeft<16>(hn::PromoteTo(DU32(), halves)));
  }
#endif
  static HWY_INLINE float LoadOne(const uint8_t* p) {
    const uint32_t bits = static_cast<uint32_t>(LoadScalar<uint16_t>(p)) << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
