// IQ2_XS, blocks of 256: w = d * (scale + 1/2) / 4 * ±grid[index], an index for each eight, scale of 4 bits
// for each
// 16. Bytes: d f16, u16[32] (9 bits of index, then seven signs, the eighth makes their number even),
// scales[8].
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ2_XS : Block<74, 8> {
  static constexpr int kSubscales = 2, kZero = 64, kMostCode = 64 + 43;
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(SignsOfShorts(p + 2)) {
      IndicesOfShorts(p + 2, indices);
    }
    alignas(32) uint16_t indices[32];
    EightBytes signs;
  };
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleNibbles<16>(p + 66, LoadHalf(p) * 0.125f, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto index = [&](int i) CAIRN_LAMBDA { return chunk.indices[i]; };
    return AroundZero<kZero>(FromGrid<Lanes>(kGridIq2Xs, index), SpreadBits<Lanes>(chunk.signs));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
