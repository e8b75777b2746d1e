// IQ3_XXS, blocks of 256: w = d * (scale + 1/2) / 2 * ±grid[index], an index for each four, scale of 4 bits
// for each
// 32. Bytes: d f16, indices[64], for each 32 a word: four times seven signs (the eighth makes their number
// even), scale in the upper 4 bits.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ3_XXS : Block<98, 8> {
  static constexpr int kZero = 64, kMostCode = 64 + 62;
  struct Chunk {
    const uint8_t* indices;
    EightBytes signs;
  };
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return {p + 2, SignsOfWords(LoadWords<4>(p + 66))};
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleWords(LoadWords<4>(p + 66), LoadHalf(p) * 0.25f, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto index = [&](int i) CAIRN_LAMBDA { return chunk.indices[i]; };
    return AroundZero<kZero>(FromGrid<Lanes>(kGridIq3Xxs, index), SpreadBits<Lanes>(chunk.signs));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
