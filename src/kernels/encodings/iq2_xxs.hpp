// IQ2_XXS, blocks of 256: w = d * (scale + 1/2) / 4 * ±grid[index], an index for each eight, scale of 4 bits
// for each 32. Bytes: d f16, then for each 32 indices[4] and a word: four times seven signs (the eighth makes
// their number even), scale in the upper 4 bits.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ2_XXS : Block<66, 8> {
  static constexpr int kZero = 64, kMostCode = 64 + 43;
#if HWY_TARGET == HWY_AVX3
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(SignsOfWords(LoadWords<8>(p + 2))) {
      const __m512i order =
          _mm512_broadcast_i32x4(_mm_setr_epi8(0, -1, 1, -1, 2, -1, 3, -1, 8, -1, 9, -1, 10, -1, 11, -1));
      const __m512i index = _mm512_shuffle_epi8(_mm512_loadu_si512(p + 2), order);
      const __mmask32 upper[2] = {TestBits(index, 6), TestBits(index, 7)};
      points.words = LookUpWords<8>(kGridIq2Xxs.words, index, upper);
    }
    PointWords8 points;
    SignMasks<kSubscales> signs;
  };
#else
  struct Chunk {
    const uint8_t* indices;
    EightBytes signs;
  };
#endif
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
#if HWY_TARGET == HWY_AVX3
    return Chunk(p);
#else
    return {p + 2, SignsOfWords(LoadWords<8>(p + 2))};
#endif
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleWords(LoadWords<8>(p + 2), LoadHalf(p) * 0.125f, scale);
  }
#if HWY_TARGET == HWY_AVX3
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LookUpValues<kZero>(kGridIq2Xxs.values, chunk.points.Numbers<Lanes>(), chunk.signs.Of<Lanes>());
  }
#else
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return chunk.indices + i / 4 * 8 + i % 4; };
    return AroundZero<kZero>(FromGrid<uint8_t, Lanes>(kGridIq2Xxs, at), SpreadBits<Lanes>(chunk.signs));
  }
#endif
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
