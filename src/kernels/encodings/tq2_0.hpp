// TQ2_0, blocks of 256: w = d * (code - 1). Bytes: codes[64], d f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct TQ2_0 : Block<66, 8> {
  static constexpr int kZero = 1, kMostCode = 3;
  struct Field {
    static constexpr int Offset(int g) { return g / 4 * 32; }
    static constexpr int Shift(int g) { return g % 4 * 2; }
    static constexpr uint8_t kMask = 3;
  };
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const float d = LoadHalf(p + 64);
    for (int g = 0; g < kChunkGroups; ++g) scale[g] = d;
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadField<Field, Lanes>(p);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
