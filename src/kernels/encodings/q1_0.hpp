// Q1_0, blocks of 128: w = d where the bit is set, else -d. Bytes: d f16, bits[16], lowest first.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q1_0 : Block<18, 4> {
  static constexpr int kZero = 1, kMostCode = 2;
  template <int kCount>
  static HWY_INLINE EightBytes Open(const uint8_t* p) {
    return LoadEightBytes(p + 2, p + 2 + (kCount > kGroups ? kBytes : 0));  // one block alone twice
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const float d = LoadHalf(p), next = kCount > kGroups ? LoadHalf(p + kBytes) : 0;
#if CAIRN_ISA_X86
    _mm256_storeu_ps(scale,
                     _mm256_set_m128(_mm_set1_ps(next), _mm_set1_ps(d)));  // at once, as they are loaded
#else
    for (int g = 0; g < kChunkGroups; ++g) scale[g] = g < kGroups ? d : next;
#endif
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const EightBytes& bits) {
    return And(SpreadBits<Lanes>(bits), 2);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
