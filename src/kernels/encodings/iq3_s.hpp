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
#if HWY_TARGET == HWY_AVX3
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 74)) {
      const __m512i all = _mm512_loadu_si512(p + 2), zero = _mm512_setzero_si512();
      const uint64_t high = LoadScalar<uint64_t>(p + 66);
      const auto look_up = [&](__m512i index, uint64_t groups) CAIRN_LAMBDA {
        const __mmask32 upper[3] = {TestBits(index, 6), TestBits(index, 7),
                                    _cvtu32_mask32(static_cast<uint32_t>(_pext_u64(high, groups)))};
        return LookUpWords<9>(kGridIq3S.words, index, upper);
      };
      points.even = look_up(_mm512_unpacklo_epi8(all, zero), 0x00FF00FF00FF00FF);
      points.odd = look_up(_mm512_unpackhi_epi8(all, zero), 0xFF00FF00FF00FF00);
    }
    PointWords4 points;
    SignMasks signs;
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
    const auto at = [&](int i) CAIRN_LAMBDA { return chunk.indices + i; };
    return AroundZero<kZero>(FromGrid<Lanes>(kGridIq3S, at), SpreadBits<Lanes>(chunk.signs));
  }
#endif
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
