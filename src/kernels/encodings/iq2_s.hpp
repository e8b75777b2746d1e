// IQ2_S, blocks of 256: w = d * (scale + 1/2) / 4 * ±grid[index], an index of 10 bits for each eight, scale
// of 4 bits for each 16. Bytes: d f16, lower bits of the indices[32], signs[32], upper two bits of the
// indices[8], scales[8].
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ2_S : Block<82, 8> {
  static constexpr int kSubscales = 2, kZero = 64, kMostCode = 64 + 43;
  struct Upper {
    static constexpr int kEach = 4, kStep = 2, kBits = 2;
  };
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 34)) {
      JoinIndices<uint8_t, Upper>(p + 2, p + 66, indices);
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
    ScaleNibbles<16>(p + 74, LoadHalf(p) * 0.125f, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto index = [&](int i) CAIRN_LAMBDA { return chunk.indices[i]; };
    return AroundZero<kZero>(FromGrid<Lanes>(kGridIq2S, index), SpreadBits<Lanes>(chunk.signs));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
