// Q4_K, blocks of 256: w = d * scale * code - dmin * min, scale and min of 6 bits for each 32.
// Bytes: d f16, dmin f16, scales and mins[12], codes[128].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// The 6-bit scales and mins of Q4_K and Q5_K. Of the 12 bytes, 0–3 hold scales 0–3, 4–7 mins 0–3, 8–11 the
// low nibbles of scales (low) and mins (high) 4–7, whose upper two bits lie on top of bytes 0–3 and 4–7.
HWY_INLINE void LoadScalesAndMins(const uint8_t* p, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
  const uint32_t a = LoadScalar<uint32_t>(p + 4), b = LoadScalar<uint32_t>(p + 8),
                 c = LoadScalar<uint32_t>(p + 12);
  const uint64_t low_scales = a & 0x3F3F3F3F, high_scales = (c & 0x0F0F0F0F) | (a >> 2 & 0x30303030);
  const uint64_t low_mins = b & 0x3F3F3F3F, high_mins = (c >> 4 & 0x0F0F0F0F) | (b >> 2 & 0x30303030);
  ScaleBytes<8, uint8_t>(low_scales | high_scales << 32, 0, LoadHalf(p), scale);
  ScaleBytes<8, uint8_t>(low_mins | high_mins << 32, 0, -LoadHalf(p + 2), offset);
}

struct Q4_K : Block<144, 8> {
  static constexpr bool kHasOffset = true;
  struct Low {
    static constexpr int Offset(int g) { return 16 + g / 2 * 32; }
    static constexpr int Shift(int g) { return g % 2 * 4; }
    static constexpr uint8_t kMask = 15;
  };
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* offset) {
    LoadScalesAndMins(p, scale, offset);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LoadField<Low, Lanes>(p);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
