// IQ2_XXS, blocks of 256: w = d * (scale + 1/2) / 4 * ±grid[index], an index for each eight, scale of 4 bits
// for each 32. Bytes: d f16, then for each 32 indices[4] and a word: four times seven signs (the eighth makes
// their number even), scale in the upper 4 bits.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ2_XXS : Block<66, 8> {
  static constexpr int kZero = 64, kMostCode = 64 + 43;
  struct Chunk {
    const uint8_t* indices;
    EightBytes signs;
  };
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return {p + 2, SignsOfWords(LoadWords<8>(p + 2))};
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleWords(LoadWords<8>(p + 2), LoadHalf(p) * 0.125f, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto index = [&](int i) CAIRN_LAMBDA { return chunk.indices[i / 4 * 8 + i % 4]; };
    return AroundZero<kZero>(FromGrid<Lanes>(kGridIq2Xxs, index), SpreadBits<Lanes>(chunk.signs));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
