// IQ3_XXS, blocks of 256: w = d * (scale + 1/2) / 2 * ±grid[index], an index for each four, scale of 4 bits
// for each
// 32. Bytes: d f16, indices[64], for each 32 a word: four times seven signs (the eighth makes their number
// even), scale in the upper 4 bits.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ3_XXS : Block<98, 8> {
  static constexpr bool kPairs = HWY_TARGET == HWY_AVX3;  // 16 registers are too few
  static constexpr int kZero = 64, kMostCode = 64 + 62;
#if HWY_TARGET == HWY_AVX3
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(SignsOfWords(LoadWords<4>(p + 66))) {
      points.LookUp(kGridIq3Xxs, p + 2, 0);
    }
    PointWords4 points;
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
    return {p + 2, SignsOfWords(LoadWords<4>(p + 66))};
#endif
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleWords(LoadWords<4>(p + 66), LoadHalf(p) * 0.25f, scale);
  }
#if HWY_TARGET == HWY_AVX3
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LookUpValues<kZero>(kGridIq3Xxs.values, chunk.points.Numbers<Lanes>(), chunk.signs.Of<Lanes>());
  }
#else
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return chunk.indices + i; };
    return AroundZero<kZero>(FromGrid<uint8_t, Lanes>(kGridIq3Xxs, at), SpreadBits<Lanes>(chunk.signs));
  }
#endif
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
