// NVFP4, blocks of 64: w = scale * table[code], the table being E2M1 doubled, a scale for each 16: half of an
// unsigned E4M3. Bytes: scales[4], then for each 16 codes[8]: low nibbles are the first eight.
#pragma once

#include "kernels/encodings/mxfp4.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct NVFP4 : Block<36, 2> {
  static constexpr int kSubscales = 2, kZero = 12, kMostCode = 24;
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    // The bits are those of an f16 whose exponent has 8 more; 0x7F is no number and stands for 0.
#if CAIRN_ISA_X86
    const __m128i bytes = _mm256_castsi256_si128(GatherScalars<uint32_t, kBytes, kCount / kGroups>(p));
    const __m128i known = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)), bytes);
    const __m256i halves =
        _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_and_si128(known, _mm_set1_epi8(0x7F))), 7);
    const auto store = [&](__m128i eight, float* to) CAIRN_LAMBDA {
      _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtph_ps(eight), _mm256_set1_ps(128)));
    };
    store(_mm256_castsi256_si128(halves), scale);
    store(_mm256_extracti128_si256(halves, 1), scale + 8);
#else
    for (int i = 0; i < kChunkGroups * kSubscales; ++i) {
      const int byte = i < kCount * kSubscales ? p[i / 4 * kBytes + i % 4] : 0;
      const auto bits = static_cast<uint16_t>(byte == 0x7F ? 0 : (byte & 0x7F) << 7);
      uint8_t half[2];
      __builtin_memcpy(half, &bits, 2);
      scale[i] = LoadHalf(half) * 128;
    }
#endif
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    return LookUp(kE2M1, LoadHalfNibbles<kBytes, Lanes>(p + 4));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
