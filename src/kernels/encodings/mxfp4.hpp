// MXFP4 (OCP Microscaling Formats 1.0), blocks of 32: w = 2^(e - 128) * table[code], the table being E2M1
// doubled. Bytes: e u8, codes[16].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// Twelve more than the doubled values of E2M1, so that they are unsigned.
alignas(16) constexpr int8_t kE2M1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct MXFP4 : Block<17> {
  static constexpr int kZero = 12, kMostCode = 24;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    // Exponents 0 and 1 give subnormals.
#if CAIRN_ISA_X86
    const hn::FixedTag<int32_t, 8> d;
    const decltype(hn::Zero(d)) e{_mm256_cvtepu8_epi32(GatherScalars<uint8_t, kBytes, kCount>(p))};
    const auto one = hn::Set(d, 1);
    const auto normal = hn::ShiftLeft<23>(hn::Sub(e, one));
    const auto subnormal = hn::ShiftLeft<21>(hn::Add(e, one));
    const hn::FixedTag<float, 8> df;
    hn::StoreU(hn::BitCast(df, hn::IfThenElse(hn::Gt(e, one), normal, subnormal)), df, scale);
#else
    for (int i = 0; i < 8; ++i) {
      const int32_t e = i < kCount ? p[i * kBytes] : 0;
      const int32_t bits = e < 2 ? (e + 1) << 21 : (e - 1) << 23;
      __builtin_memcpy(scale + i, &bits, 4);
    }
#endif
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LookUp(kE2M1, LoadNibbles<kBytes, Lanes>(p + 1));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
