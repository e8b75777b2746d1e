// Blocks of 32 with a scale, or a scale and an offset.
#pragma once

#include "kernels/quantizers/fit.hpp"
#include "kernels/quantizers/plain.hpp"
#include "kernels/quantizers/weights.hpp"

namespace cairn::kernels::CAIRN_TARGET {

struct WriteQ4_0 {
  using Book = Uniform<-8, 7>;
  static constexpr int kBytes = 18, kMostCode = 15;
  static constexpr bool kPlain = true;  // without importance
  static HWY_INLINE void Pack(const uint8_t* codes, uint8_t* block) { PackNibbles(codes, block + 2); }
};
struct WriteQ5_0 {
  using Book = Uniform<-16, 15>;
  static constexpr int kBytes = 22, kMostCode = 31;
  static constexpr bool kPlain = true;
  static HWY_INLINE void Pack(const uint8_t* codes, uint8_t* block) {
    PackFifthBits(codes, block + 2);
    PackNibbles(codes, block + 6);
  }
};
struct WriteIQ4_NL {
  using Book = NonLinear;
  static constexpr int kBytes = 18;
  static constexpr bool kPlain = false;
  static HWY_INLINE void Pack(const uint8_t* codes, uint8_t* block) { PackNibbles(codes, block + 2); }
};
struct WriteQ4_1 {
  using Book = Uniform<0, 15>;
  static constexpr int kBytes = 20, kMostCode = 15;
  static HWY_INLINE void Pack(const uint8_t* codes, uint8_t* block) { PackNibbles(codes, block + 4); }
};
struct WriteQ5_1 {
  using Book = Uniform<0, 31>;
  static constexpr int kBytes = 24, kMostCode = 31;
  static HWY_INLINE void Pack(const uint8_t* codes, uint8_t* block) {
    PackFifthBits(codes, block + 4);
    PackNibbles(codes, block + 8);
  }
};

template <class Book>
HWY_INLINE void Codes(const float* x, float scale, float offset, int count, uint8_t* codes) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (size_t i = 0; i < static_cast<size_t>(count); i += kF8)
    StoreBytes(Book::Code((Load(x + i) - offset) * inverse), codes + i);
}

template <class Format>
void QuantizeSigned(const float* x, const float* importance, size_t elements, void* blocks) {
  const float variance = MeanSquare(x, elements);
  uint8_t* block = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += 32, block += Format::kBytes) {
    if constexpr (Format::kPlain) {
      if (importance == nullptr) {
        PlainSigned<Format>(x + at, block);
        continue;
      }
    }
    alignas(32) float w[32];
    alignas(32) uint8_t codes[32];
    Weigh<32>(x + at, importance == nullptr ? nullptr : importance + at, variance, w);
    const uint16_t scale = to_half(FitScale<typename Format::Book, 32>(x + at, w));
    StoreScale(block, scale);
    Codes<typename Format::Book>(x + at, from_half(scale), 0, 32, codes);
    Format::Pack(codes, block);
  }
}

template <class Format>
void QuantizeOffset(const float* x, const float* importance, size_t elements, void* blocks) {
  const float variance = MeanSquare(x, elements);
  uint8_t* block = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += 32, block += Format::kBytes) {
    if (importance == nullptr) {
      PlainOffset<Format>(x + at, block);
      continue;
    }
    alignas(32) float w[32];
    alignas(32) uint8_t codes[32];
    Weigh<32>(x + at, importance + at, variance, w);
    const Line line = FitLine<typename Format::Book, 32, true>(x + at, w);
    const uint16_t scale = to_half(line.scale), offset = to_half(line.offset);
    StoreScale(block, scale);
    StoreScale(block + 2, offset);
    Codes<typename Format::Book>(x + at, from_half(scale), from_half(offset), 32, codes);
    Format::Pack(codes, block);
  }
}

// 2^(exponent − 128), as MXFP4's doubled values take it.
HWY_INLINE float HalfPower(int exponent) {
  const uint32_t bits = exponent < 2 ? 0x200000u << exponent : static_cast<uint32_t>(exponent - 1) << 23;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

HWY_INLINE float E2M1Error(const float* x, const float* w, float d) {
  F8 sum{};
  for (size_t i = 0; i < 32; i += kF8) {
    const F8 size = Abs(Load(x + i)), rest = size - E2M1::Value(size * (1 / d)) * d;
    sum += Load(w + i) * rest * rest;
  }
  return Sum(sum);
}

// The exponent that the largest number sets; with importance one more or less where that is better.
inline void QuantizeMxfp4(const float* x, const float* importance, size_t elements, void* blocks) {
  const float variance = MeanSquare(x, elements);
  uint8_t* block = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += 32, x += 32, block += 17) {
    F8 sizes{};
    for (size_t i = 0; i < 32; i += kF8) sizes = Max(sizes, Abs(Load(x + i)));
    const float most = Most(sizes);
    uint32_t bits;
    __builtin_memcpy(&bits, &most, 4);
    const int largest = static_cast<int>(bits >> 23) - 2;  // ⌊log2⌋ − 2 + 127
    int exponent = largest < 0 ? 0 : largest;
    if (importance != nullptr && exponent > 2) {
      alignas(32) float w[32];
      Weigh<32>(x, importance + at, variance, w);
      float least = E2M1Error(x, w, HalfPower(exponent));
      const int middle = exponent;
      for (int other = middle - 1; other <= middle + 1; other += 2) {
        const float error = E2M1Error(x, w, HalfPower(other));
        if (error < least) least = error, exponent = other;
      }
    }
    block[0] = static_cast<uint8_t>(exponent);
    const float inverse = 1 / HalfPower(exponent);
    alignas(32) uint8_t codes[32];
    for (size_t i = 0; i < 32; i += kF8) {
      const F8 v = Load(x + i) * inverse;
      const I8 code = E2M1::Code(Abs(v));
      StoreBytes(code | ((v < 0) & (code > 0) & 8), codes + i);
    }
    PackNibbles(codes, block + 1);
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
