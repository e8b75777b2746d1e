// IQ1_S to IQ3_S as bytes (encodings/iq*.hpp say what lies where).
#pragma once

#include "kernels/quantizers/packing.hpp"
#include "kernels/quantizers/ternary_blocks.hpp"

namespace cairn::kernels::CAIRN_TARGET {

HWY_INLINE void StoreWord(uint8_t* to, uint32_t word) {
  __builtin_memcpy(to, &word, sizeof word);
}
// Seven signs of each of a group's four eights, the scale above.
HWY_INLINE uint32_t SignsAndScale(const uint8_t* signs, uint32_t scale) {
  uint32_t word = scale << 28;
  for (int i = 0; i < 4; ++i) word |= static_cast<uint32_t>(signs[i] & 127) << (7 * i);
  return word;
}
// Two scales of 4 bits a byte.
HWY_INLINE void PackScaleNibbles(const uint8_t* scales, int count, uint8_t* to) {
  for (int i = 0; i < count / 2; ++i) to[i] = static_cast<uint8_t>(scales[2 * i] | scales[2 * i + 1] << 4);
}
// The lower 8 bits of indices, and kBits upper ones, the first lowest in its byte.
template <int kBits>
HWY_INLINE void PackIndices(const uint16_t* points, int count, uint8_t* lower, uint8_t* upper) {
  for (int i = 0; i < count * kBits / 8; ++i) upper[i] = 0;
  for (int i = 0; i < count; ++i) {
    lower[i] = static_cast<uint8_t>(points[i]);
    const int at = i * kBits;
    upper[at / 8] = static_cast<uint8_t>(upper[at / 8] | points[i] >> 8 << (at % 8));
  }
}

struct WriteIQ2_XXS {
  static constexpr Encoding kEncoding = Encoding::iq2_xxs;
  static constexpr GridFormat kFormat{32, 0.125f, true, true, 0.7f, 1.5f};
  static constexpr int kCoordinates = 8, kBytes = 66;
  static void Pack(const GridBlock& b, uint8_t* to) {
    StoreScale(to, b.d);
    for (int g = 0; g < 8; ++g) {
      for (int i = 0; i < 4; ++i) to[2 + 8 * g + i] = static_cast<uint8_t>(b.points[4 * g + i]);
      StoreWord(to + 6 + 8 * g, SignsAndScale(b.signs + 4 * g, b.scales[g]));
    }
  }
};

struct WriteIQ2_XS {
  static constexpr Encoding kEncoding = Encoding::iq2_xs;
  static constexpr GridFormat kFormat{16, 0.125f, true, true, 0.7f, 1.5f};
  static constexpr int kCoordinates = 8, kBytes = 74;
  static void Pack(const GridBlock& b, uint8_t* to) {
    StoreScale(to, b.d);
    for (int i = 0; i < 32; ++i)
      StoreScale(to + 2 + 2 * i, static_cast<uint16_t>(b.points[i] | (b.signs[i] & 127) << 9));
    PackScaleNibbles(b.scales, 16, to + 66);
  }
};

struct WriteIQ2_S {
  static constexpr Encoding kEncoding = Encoding::iq2_s;
  static constexpr GridFormat kFormat{16, 0.125f, false, false, 0.7f, 1.5f};
  static constexpr int kCoordinates = 8, kBytes = 82;
  static void Pack(const GridBlock& b, uint8_t* to) {
    StoreScale(to, b.d);
    PackIndices<2>(b.points, 32, to + 2, to + 66);
    __builtin_memcpy(to + 34, b.signs, 32);
    PackScaleNibbles(b.scales, 16, to + 74);
  }
};

struct WriteIQ3_XXS {
  static constexpr Encoding kEncoding = Encoding::iq3_xxs;
  static constexpr GridFormat kFormat{32, 0.25f, true, true, 0.8f, 1.25f};
  static constexpr int kCoordinates = 4, kBytes = 98;
  static void Pack(const GridBlock& b, uint8_t* to) {
    StoreScale(to, b.d);
    for (int i = 0; i < 64; ++i) to[2 + i] = static_cast<uint8_t>(b.points[i]);
    for (int g = 0; g < 8; ++g) StoreWord(to + 66 + 4 * g, SignsAndScale(b.signs + 4 * g, b.scales[g]));
  }
};

struct WriteIQ3_S {
  static constexpr Encoding kEncoding = Encoding::iq3_s;
  static constexpr GridFormat kFormat{32, 1, false, true, 0.8f, 1.25f};
  static constexpr int kCoordinates = 4, kBytes = 110;
  static void Pack(const GridBlock& b, uint8_t* to) {
    StoreScale(to, b.d);
    PackIndices<1>(b.points, 64, to + 2, to + 66);
    __builtin_memcpy(to + 74, b.signs, 32);
    PackScaleNibbles(b.scales, 8, to + 106);
  }
};

inline void PackIQ1_S(const TernaryBlock& b, uint8_t* to) {
  StoreScale(to, b.d);
  for (int i = 0; i < 32; ++i) to[2 + i] = static_cast<uint8_t>(b.points[i]);
  for (int g = 0; g < 8; ++g) {
    unsigned word = static_cast<unsigned>(b.scales[g]) << 12 | (b.down[4 * g] ? 0x8000u : 0);
    for (int i = 0; i < 4; ++i) word |= static_cast<unsigned>(b.points[4 * g + i] >> 8) << (3 * i);
    StoreScale(to + 34 + 2 * g, static_cast<uint16_t>(word));
  }
}

inline void PackIQ1_M(const TernaryBlock& b, uint8_t* to) {
  for (int i = 0; i < 32; ++i) to[i] = static_cast<uint8_t>(b.points[i]);
  for (int i = 0; i < 16; ++i) {
    const auto nibble = [&](int eight) { return b.points[eight] >> 8 | (b.down[eight] ? 8 : 0); };
    to[32 + i] = static_cast<uint8_t>(nibble(2 * i) | nibble(2 * i + 1) << 4);
  }
  for (int i = 0; i < 4; ++i) {
    int word = (b.d >> (4 * i) & 15) << 12;
    for (int g = 0; g < 4; ++g) word |= b.scales[4 * i + g] << (3 * g);
    StoreScale(to + 48 + 2 * i, static_cast<uint16_t>(word));
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
