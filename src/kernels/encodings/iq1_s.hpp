// IQ1_S, blocks of 256: w = d * (2 * scale + 1) * (grid[index] ± 1/8), an index of 11 bits for each eight,
// scale of 3 bits and a sign for each 32. Bytes: d f16, lower bits of the indices[32], u16[8]: four times
// three upper bits, scale, sign.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ1_S : Block<50, 8> {
  // Codes are eight times the values.
  static constexpr int kZero = 16, kMostCode = 25;
  struct Upper {
    static constexpr int kEach = 4, kStep = 3, kBits = 3;
  };
  struct Sign {
    static constexpr int Byte(int eight) { return eight / 4 * 2 + 1; }
    static constexpr int Mask(int) { return 0x80; }
  };
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : shift(MinusOrPlusOne<Sign>(p + 34)) {
      JoinIndices<uint16_t, Upper>(p + 2, p + 34, indices);
    }
    alignas(32) uint16_t indices[32];
    EightBytes shift;
  };
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    // The three bits above 12 of each u16, moved together.
    const uint64_t threes = 0x7000700070007000;
    const auto four = [&](uint64_t u) CAIRN_LAMBDA {
      u = (u & threes) >> 12;
      u = (u | u >> 8) & 0x0000FFFF0000FFFF;
      return (u | u >> 16) & 0xFFFFFFFF;
    };
    const uint64_t scales = four(LoadScalar<uint64_t>(p + 34)) | four(LoadScalar<uint64_t>(p + 42)) << 32;
    ScaleBytes<8, uint8_t>(scales << 1 | 0x0101010101010101, 0, LoadHalf(p) * 0.125f, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return reinterpret_cast<const uint8_t*>(chunk.indices + i); };
    return Add(FromGrid<uint16_t, Lanes>(kGridIq1, at), Spread<Lanes>(chunk.shift));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
