// kernels: SIMD loops on raw pointers; no allocation, no threads, no file. Written once with Highway,
// compiled for each instruction set, chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/encoding.hpp"

namespace cairn::kernels {

enum class Target : uint8_t { portable, avx2, avxvnni, avx512, avx512vnni, count };

// A token's activations for integer products: int8 in groups of 32 along K with a scale each, so that
// x[i] ≈ scales[i / 32] * values[i]; values lie in [-127, 127].
constexpr size_t kGroup = 32;
struct QuantizedVector {
  const int8_t*
      values;  // [k], k a multiple of 32; 64-byte aligned, readable (not counted) up to a multiple of 64
  const float* scales;  // [k / 32]
  const float* sums;    // [k / 32] scales[g] * Σ values of the group
};

// What an encoding gives each instruction set. Rows are `row_bytes` apart; k is a multiple of block_elements.
struct EncodingKernels {
  // The exact values, equal bit for bit to the `gguf` Python package's dequantize.
  void (*dequantize)(const void* blocks, size_t elements, float* out);
  // y[r] = row r · x for r in [0, rows): decode's matrix-vector product, bound by memory bandwidth.
  void (*gemv)(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
               float* y);
  // Null unless the encoding is w = scale * code + offset with code in [0, 15], one scale and offset for each
  // 32 elements: writes codes[k], scales[k / 32], offsets[k / 32]. Instruction sets without VNNI sum such
  // codes exactly in 16 bits.
  void (*unpack4)(const void* row, size_t k, uint8_t* codes, float* scales, float* offsets);
  // Null unless the encoding is w = scale * value, one scale for each 32 elements and value in [-128, 127]:
  // writes values[k], scales[k / 32].
  void (*unpack8)(const void* row, size_t k, int8_t* values, float* scales);
  // As gemv for x + rest, the second being what rounding the first left.
  void (*gemv_pair)(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                    const QuantizedVector& rest, float* y);
};

const EncodingKernels& encoding_kernels(Encoding encoding, Target target);

// The instruction sets that this processor has, best last.
std::span<const Target> available_targets();
// The best of them, or the one that the environment variable CAIRN_TARGET names (Error invalid_argument when
// it is unknown or the processor lacks it).
Target default_target();
const char* name(Target target);

}  // namespace cairn::kernels
