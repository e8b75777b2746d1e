// Q2_K to Q6_K and IQ4_XS.
#pragma once

#include "kernels/quantizers/packing.hpp"
#include "kernels/quantizers/super_blocks.hpp"

namespace cairn::kernels::CAIRN_TARGET {

struct WriteQ2_K {
  static constexpr int kBytes = 84;
  static void Write(const float* x, const float* importance, uint8_t* to) {
    OffsetBlock<16> b;
    FitOffsetBlock<Uniform<0, 3>, 16, 15>(x, importance, b);
    for (int g = 0; g < 16; ++g) to[g] = static_cast<uint8_t>(b.scales[g] | b.mins[g] << 4);
    PackFields<2, 0, 4, 1>(b.codes, to + 16);
    StoreScale(to + 80, b.d);
    StoreScale(to + 82, b.dmin);
  }
};

struct WriteQ3_K {
  static constexpr int kBytes = 110;
  static void Write(const float* x, const float* importance, uint8_t* to) {
    ScaledBlock<16> b;
    FitScaledBlock<Uniform<-4, 3>, 16, -32>(x, importance, b);
    PackFields<1, 2, 8, 1>(b.codes, to);
    PackFields<2, 0, 4, 1>(b.codes, to + 32);
    for (int i = 0; i < 12; ++i) to[96 + i] = 0;
    for (int g = 0; g < 16; ++g) {
      const int scale = b.scales[g] + 32;
      to[96 + g % 8] = static_cast<uint8_t>(to[96 + g % 8] | (scale & 15) << (g / 8 * 4));
      to[104 + g % 4] = static_cast<uint8_t>(to[104 + g % 4] | scale >> 4 << (g / 4 * 2));
    }
    StoreScale(to + 108, b.d);
  }
};

struct WriteQ4_K {
  static constexpr int kBytes = 144;
  static void Write(const float* x, const float* importance, uint8_t* to) {
    OffsetBlock<8> b;
    FitOffsetBlock<Uniform<0, 15>, 8, 63>(x, importance, b);
    StoreScale(to, b.d);
    StoreScale(to + 2, b.dmin);
    PackScalesAndMins(b.scales, b.mins, to + 4);
    PackFields<4, 0, 2, 1>(b.codes, to + 16);
  }
};

struct WriteQ5_K {
  static constexpr int kBytes = 176;
  static void Write(const float* x, const float* importance, uint8_t* to) {
    OffsetBlock<8> b;
    FitOffsetBlock<Uniform<0, 31>, 8, 63>(x, importance, b);
    StoreScale(to, b.d);
    StoreScale(to + 2, b.dmin);
    PackScalesAndMins(b.scales, b.mins, to + 4);
    PackFields<1, 4, 8, 1>(b.codes, to + 16);
    PackFields<4, 0, 2, 1>(b.codes, to + 48);
  }
};

struct WriteQ6_K {
  static constexpr int kBytes = 210;
  static void Write(const float* x, const float* importance, uint8_t* to) {
    ScaledBlock<16> b;
    FitScaledBlock<Uniform<-32, 31>, 16, -128>(x, importance, b);
    PackFields<4, 0, 2, 2>(b.codes, to);
    PackFields<2, 4, 4, 1>(b.codes, to + 128);
    for (int g = 0; g < 16; ++g) to[192 + g] = static_cast<uint8_t>(b.scales[g]);
    StoreScale(to + 208, b.d);
  }
};

struct WriteIQ4_XS {
  static constexpr int kBytes = 136;
  static void Write(const float* x, const float* importance, uint8_t* to) {
    ScaledBlock<8> b;
    FitScaledBlock<NonLinear, 8, -32>(x, importance, b);
    StoreScale(to, b.d);
    uint16_t high = 0;
    for (int i = 0; i < 4; ++i) to[4 + i] = 0;
    for (int g = 0; g < 8; ++g) {
      const int scale = b.scales[g] + 32;
      to[4 + g / 2] = static_cast<uint8_t>(to[4 + g / 2] | (scale & 15) << (g % 2 * 4));
      high = static_cast<uint16_t>(high | scale >> 4 << (2 * g));
    }
    StoreScale(to + 2, high);
    for (int g = 0; g < 8; ++g) PackNibbles(b.codes + 32 * g, to + 8 + 16 * g);
  }
};

template <class Format>
void QuantizeSuper(const float* x, const float* importance, size_t elements, void* blocks) {
  uint8_t* block = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += kSuper, block += Format::kBytes)
    Format::Write(x + at, importance == nullptr ? nullptr : importance + at, block);
}

}  // namespace cairn::kernels::CAIRN_TARGET
