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
#if HWY_TARGET == HWY_AVX3
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(SignsOfShorts(p + 2)) {
      const __m512i index = _mm512_loadu_si512(p + 2);
      const __mmask32 upper[3] = {TestBits(index, 6), TestBits(index, 7), TestBits(index, 8)};
      points.words = LookUpWords<9>(kGridIq2Xs.words, index, upper);
    }
    PointWords8 points;
    SignMasks<kSubscales> signs;
  };
#else
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : shorts(p + 2), signs(SignsOfShorts(p + 2)) {}
    const uint8_t* shorts;
    EightBytes signs;
  };
#endif
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleNibbles<16>(p + 66, LoadHalf(p) * 0.125f, scale);
  }
#if HWY_TARGET == HWY_AVX3
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LookUpValues<kZero>(kGridIq2Xs.values, chunk.points.Numbers<Lanes>(), chunk.signs.Of<Lanes>());
  }
#else
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return chunk.shorts + 2 * i; };
    return AroundZero<kZero>(FromGrid<uint16_t, Lanes>(kGridIq2Xs, at), SpreadBits<Lanes>(chunk.signs));
  }
#endif
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
