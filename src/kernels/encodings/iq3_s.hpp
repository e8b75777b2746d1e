// IQ3_S, blocks of 256: w = d * (2 * scale + 1) * ±grid[index], an index of 9 bits for each four, scale of 4
// bits for each 32. Bytes: d f16, lower bits of the indices[64], their upper bits[8], signs[32], scales[4].
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ3_S : Block<110, 8> {
  static constexpr int kZero = 16, kMostCode = 31;
  struct Upper {
    static constexpr int kEach = 8, kStep = 1, kBits = 1;
  };
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 74)) {
      JoinIndices<uint8_t, Upper>(p + 2, p + 66, indices);
    }
    alignas(32) uint16_t indices[64];
    EightBytes signs;
  };
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleNibbles<8>(p + 106, LoadHalf(p), scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto index = [&](int i) CAIRN_LAMBDA { return chunk.indices[i]; };
    return AroundZero<kZero>(FromGrid<Lanes>(kGridIq3S, index), SpreadBits<Lanes>(chunk.signs));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
