// IQ3_S, blocks of 256: w = d * (2 * scale + 1) * ±grid[index], an index of 9 bits for each four, scale of 4
// bits for each 32. Bytes: d f16, lower bits of the indices[64], their upper bits[8], signs[32], scales[4].
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ3_S : Block<110, 8> {
  static constexpr bool kPairs = HWY_TARGET == HWY_AVX3;  // 16 registers are too few
  static constexpr int kZero = 16, kMostCode = 31;
  struct Upper {
    static constexpr int kEach = 8, kStep = 1, kBits = 1;
  };
#if HWY_TARGET == HWY_AVX3
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 74)) {
      points.LookUp(kGridIq3S, p + 2, LoadScalar<uint64_t>(p + 66));
    }
    PointWords4 points;
    SignMasks<kSubscales> signs;
  };
#else
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 74)) {
      JoinIndices<uint8_t, Upper>(p + 2, p + 66, indices);
    }
    alignas(32) uint16_t indices[64];
    EightBytes signs;
  };
#endif
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleNibbles<8>(p + 106, LoadHalf(p), scale);
  }
#if HWY_TARGET == HWY_AVX3
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LookUpValues<kZero>(kGridIq3S.values, chunk.points.Numbers<Lanes>(), chunk.signs.Of<Lanes>());
  }
#else
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return reinterpret_cast<const uint8_t*>(chunk.indices + i); };
    return AroundZero<kZero>(FromGrid<uint16_t, Lanes>(kGridIq3S, at), SpreadBits<Lanes>(chunk.signs));
  }
#endif
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
