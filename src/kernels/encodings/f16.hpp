// F16: IEEE 754 binary16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct F16 {
  static constexpr int kBytes = 2;
  static constexpr bool kIsFloat = true;
#if CAIRN_ISA_X86
  static HWY_INLINE VF32 Load(const uint8_t* p) {
#if HWY_TARGET == HWY_AVX3
    return VF32{_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
#else
    return VF32{_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#endif
  }
#endif
  static HWY_INLINE float LoadOne(const uint8_t* p) {
    return LoadHalf(p);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
