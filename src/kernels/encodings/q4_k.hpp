// Q4_K, blocks of 256: w = d * scale * code - dmin * min, scale and min of 6 bits for each 32.
// Bytes: d f16, dmin f16, scales and mins[12], codes[128].
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// The 6-bit scales and mins of Q4_K and Q5_K. Of the 12 bytes, 0–3 hold scales 0–3, 4–7 mins 0–3, 8–11 the
// low nibbles of scales (low) and mins (high) 4–7, whose upper two bits lie on top of bytes 0–3 and 4–7.
HWY_INLINE void LoadScalesAndMins(const uint8_t* p, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
#if CAIRN_ISA_X86
  const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i low =
      _mm_shuffle_epi8(block, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m128i high =
      _mm_shuffle_epi8(block, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
  const __m128i six =
      _mm_or_si128(_mm_and_si128(_mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4)),
                                 _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F)),
                   _mm_and_si128(_mm_srli_epi16(high, 2), _mm_set1_epi8(0x30)));  // scales, then mins
  const __m128 both = _mm_cvtph_ps(block);                                        // d and dmin first
  const __m256 d = _mm256_broadcastss_ps(both), dmin = _mm256_broadcastss_ps(_mm_movehdup_ps(both));
  const __m256 scales = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(six));
  const __m256 mins = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(six, six)));
  _mm256_storeu_ps(scale, _mm256_mul_ps(d, scales));
  _mm256_storeu_ps(offset, _mm256_mul_ps(_mm256_xor_ps(dmin, _mm256_set1_ps(-0.0f)), mins));
#else
  const uint32_t a = LoadScalar<uint32_t>(p + 4), b = LoadScalar<uint32_t>(p + 8),
                 c = LoadScalar<uint32_t>(p + 12);
  const uint64_t low_scales = a & 0x3F3F3F3F, high_scales = (c & 0x0F0F0F0F) | (a >> 2 & 0x30303030);
  const uint64_t low_mins = b & 0x3F3F3F3F, high_mins = (c >> 4 & 0x0F0F0F0F) | (b >> 2 & 0x30303030);
  ScaleBytes<8, uint8_t>(low_scales | high_scales << 32, 0, LoadHalf(p), scale);
  ScaleBytes<8, uint8_t>(low_mins | high_mins << 32, 0, -LoadHalf(p + 2), offset);
#endif
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
