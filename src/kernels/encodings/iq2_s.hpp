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
#if HWY_TARGET == HWY_AVX3
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 34)) {
      const __m512i index = _mm512_cvtepu8_epi16(Load32(p + 2));
      const uint64_t high = LoadScalar<uint64_t>(p + 66);
      const __mmask32 upper[4] = {TestBits(index, 6), TestBits(index, 7),
                                  _cvtu32_mask32(static_cast<uint32_t>(_pext_u64(high, 0x5555555555555555))),
                                  _cvtu32_mask32(static_cast<uint32_t>(_pext_u64(high, 0xAAAAAAAAAAAAAAAA)))};
      points.words = LookUpWords<10>(kGridIq2S.words, index, upper);
    }
    PointWords8 points;
    SignMasks<kSubscales> signs;
  };
#elif CAIRN_ISA_X86
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : low(p + 2), high(p + 66), signs(LoadEightBytes(p + 34)) {}
    const uint8_t *low, *high;
    EightBytes signs;
  };
#else
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : signs(LoadEightBytes(p + 34)) {
      JoinIndices<uint8_t, Upper>(p + 2, p + 66, indices);
    }
    alignas(32) uint16_t indices[32];
    EightBytes signs;
  };
#endif
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleNibbles<16>(p + 74, LoadHalf(p) * 0.125f, scale);
  }
#if HWY_TARGET == HWY_AVX3
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LookUpValues<kZero>(kGridIq2S.values, chunk.points.Numbers<Lanes>(), chunk.signs.Of<Lanes>());
  }
#elif CAIRN_ISA_X86
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    struct Pair {
      HWY_INLINE size_t operator[](int i) const { return number[i]; }
      size_t number[2];
    };
    // Joined one by one: general registers are idle, and joining them in a vector would have to fetch them
    // from there.
    const auto pair = [&](int i) CAIRN_LAMBDA {
      const size_t high = chunk.high[i / 4];
      const auto number = [&](int j)
                              CAIRN_LAMBDA { return chunk.low[j] | (high << (8 - j % 4 * 2) & 0x300); };
      return Pair{{ number(i), number(i + 1) }};
    };
    return AroundZero<kZero>(FromPairs<Lanes>(kGridIq2S, pair), SpreadBits<Lanes>(chunk.signs));
  }
#else
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return reinterpret_cast<const uint8_t*>(chunk.indices + i); };
    return AroundZero<kZero>(FromGrid<uint16_t, Lanes>(kGridIq2S, at), SpreadBits<Lanes>(chunk.signs));
  }
#endif
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
