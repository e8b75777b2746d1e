// Rounding to the nearest code with a scale that the largest number sets: what the published quantisers do
// (gguf/quants.py of the gguf package; ggml-quants.c), bit for bit.
#pragma once

#include "base/half.hpp"
#include "kernels/quantizers/packing.hpp"

namespace cairn::kernels::CAIRN_TARGET {

inline void PlainF32(const float* x, const float*, size_t elements, void* blocks) {
  __builtin_memcpy(blocks, x, elements * sizeof(float));
}

inline void PlainF16(const float* x, const float*, size_t elements, void* blocks) {
  for (size_t i = 0; i < elements; ++i) StoreScale(static_cast<uint8_t*>(blocks) + 2 * i, to_half(x[i]));
}

// Ties to even.
inline void PlainBf16(const float* x, const float*, size_t elements, void* blocks) {
  for (size_t i = 0; i < elements; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, x + i, 4);
    StoreScale(static_cast<uint8_t*>(blocks) + 2 * i,
               static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
  }
}

// The extremum becomes the lowest code, kLow.
template <class Format>
HWY_INLINE void PlainSigned(const float* x, uint8_t* block) {
  float extremum = 0;
  for (int i = 0; i < 32; ++i) extremum = __builtin_fabsf(x[i]) > __builtin_fabsf(extremum) ? x[i] : extremum;
  const float d = extremum / Format::Book::kLeast, inverse = d != 0 ? 1 / d : 0;
  StoreScale(block, to_half(d));
  alignas(32) uint8_t codes[32];
  for (int i = 0; i < 32; ++i) {
    const int code = static_cast<int>(x[i] * inverse + (0.5f - Format::Book::kLeast));
    codes[i] = static_cast<uint8_t>(code < Format::kMostCode ? code : Format::kMostCode);
  }
  Format::Pack(codes, block);
}

template <class Format>
HWY_INLINE void PlainOffset(const float* x, uint8_t* block) {
  float least = x[0], most = x[0];
  for (int i = 1; i < 32; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
  const float d = (most - least) / Format::Book::kMost, inverse = d != 0 ? 1 / d : 0;
  StoreScale(block, to_half(d));
  StoreScale(block + 2, to_half(least));
  alignas(32) uint8_t codes[32];
  for (int i = 0; i < 32; ++i) {
    const int code = static_cast<int>((x[i] - least) * inverse + 0.5f);
    codes[i] = static_cast<uint8_t>(code < Format::kMostCode ? code : Format::kMostCode);
  }
  Format::Pack(codes, block);
}

// Ties away from zero.
inline void PlainQ8_0(const float* x, const float*, size_t elements, void* blocks) {
  uint8_t* block = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += 32, x += 32, block += 34) {
    F8 most{};
    for (size_t i = 0; i < 32; i += kF8) most = Max(most, Abs(Load(x + i)));
    const float d = Most(most) / 127, inverse = d != 0 ? 1 / d : 0;
    StoreScale(block, to_half(d));
    for (size_t i = 0; i < 32; i += kF8) {
      const F8 v = Load(x + i) * inverse, size = Abs(v);
      const I8 whole = ToIntegers(size);  // downwards
      const I8 code = whole - (size - __builtin_convertvector(whole, F8) >= 0.5f);
      StoreBytes(v < 0 ? -code : code, block + 2 + i);
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
