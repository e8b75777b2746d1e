// Q6_K, blocks of 256: w = d * scale * (code - 32), scale s8 for each 16.
// Bytes: low bits[128], upper two bits[64], scales s8[16], d f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct Q6_K : Block<210, 8> {
  static constexpr int kSubscales = 2, kZero = 32, kMostCode = 63;
  struct Low {
    static constexpr int Offset(int g) { return g / 4 * 64 + g % 2 * 32; }
    static constexpr int Shift(int g) { return g % 4 / 2 * 4; }
    static constexpr uint8_t kMask = 15;
  };
  struct High {
    static constexpr int Offset(int g) { return 128 + g / 4 * 32; }
    static constexpr int Shift(int g) { return g % 4 * 2 - 4; }
    static constexpr uint8_t kMask = 0x30;
  };
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleBytes<16, int8_t>(LoadScalar<uint64_t>(p + 192), LoadScalar<uint64_t>(p + 200), LoadHalf(p + 208),
                           scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
#if CAIRN_ISA_NEON
    return InsertFields<Low, High, Lanes>(p);
#else
    return Or(LoadField<Low, Lanes>(p), LoadField<High, Lanes>(p));
#endif
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
