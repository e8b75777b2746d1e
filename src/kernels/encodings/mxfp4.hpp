// MXFP4 (OCP Microscaling Formats 1.0), blocks of 32: w = 2^(e - 128) * table[code], the table being E2M1
// doubled. Bytes: e u8, codes[16].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct MXFP4 : Block<17> {
  static constexpr int kZero = 12;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    for (int i = 0; i < 8; ++i) {
      uint32_t bits = 0;
      if (i < kCount) {
        const uint32_t e = p[i * kBytes];
        bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;  // the first two are subnormal
      }
      __builtin_memcpy(scale + i, &bits, 4);
    }
  }
  template <int kStep, int kCount>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    // Twelve more than the values, so that they are unsigned.
    alignas(16) static constexpr int8_t kTable[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                      12, 11, 10, 9,  8,  6,  4,  0};
    return LookUp(kTable, LoadNibbles<kBytes, kStep, kCount>(p + 1));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
