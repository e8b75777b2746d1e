// IQ1_M, blocks of 256: w = d * (2 * scale + 1) * (grid[index] ± 1/8), an index of 11 bits and a sign for
// each eight, scale of 3 bits for each 16. Bytes: lower bits of the indices[32], three upper bits and the
// sign of two eights[16], u16[4]: four scales, then 4 bits of d, an f16, lowest first.
#pragma once

#include "kernels/encodings/grid.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct IQ1_M : Block<56, 8> {
  // Codes are eight times the values.
  static constexpr int kSubscales = 2, kZero = 16, kMostCode = 25;
  struct Upper {
    static constexpr int kEach = 2, kStep = 4, kBits = 3;
  };
  struct Sign {
    static constexpr int Byte(int eight) { return eight / 2; }
    static constexpr int Mask(int eight) { return eight % 2 == 0 ? 0x08 : 0x80; }
  };
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) : shift(MinusOrPlusOne<Sign>(p + 32)) {
      JoinIndices<uint8_t, Upper>(p, p + 32, indices);
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
    const uint64_t all = LoadScalar<uint64_t>(p + 48);
    const auto half = static_cast<uint16_t>((all >> 12 & 0xF) | (all >> 24 & 0xF0) | (all >> 36 & 0xF00) |
                                            (all >> 48 & 0xF000));
    uint8_t d[2];
    __builtin_memcpy(d, &half, 2);
    // Of two u16 the eight scales of 3 bits, spread to a byte each, the distance halved in each step.
    const auto eight = [](uint64_t u) CAIRN_LAMBDA {
      u &= 0x0FFF0FFF;
      u = (u | u << 16) & 0x00000FFF00000FFF;
      u = (u | u << 10) & 0x003F003F003F003F;
      u = (u | u << 5) & 0x0707070707070707;
      return u << 1 | 0x0101010101010101;
    };
    ScaleBytes<16, uint8_t>(eight(all), eight(all >> 32), LoadHalf(d) * 0.125f, scale);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    const auto at = [&](int i) CAIRN_LAMBDA { return reinterpret_cast<const uint8_t*>(chunk.indices + i); };
    return Add(FromGrid<uint16_t, Lanes>(kGridIq1, at), Spread<Lanes>(chunk.shift));
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
