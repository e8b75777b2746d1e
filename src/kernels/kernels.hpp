// kernels: SIMD loops on raw pointers; no allocation, no threads, no file. Written once with Highway,
// compiled for each instruction set, chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/encoding.hpp"
#include "kernels/panel.hpp"

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

// Several tokens' activations, each of the matrix's k.
struct VectorBatch {
  const QuantizedVector* x;     // [count]
  const QuantizedVector* rest;  // [count]: what rounding x left, to be added to it; or null
  size_t count;                 // any; eight share a reading of the weights
};

// What an encoding gives each instruction set. Rows are `row_bytes` apart; k is a multiple of block_elements.
struct EncodingKernels {
  // The exact values, equal bit for bit to the `gguf` Python package's dequantize.
  void (*dequantize)(const void* blocks, size_t elements, float* out);
  // y[r] = row r · x for r in [0, rows): decode's matrix-vector product, bound by memory bandwidth.
  void (*gemv)(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
               float* y);
  // The same for x + rest, the second being what rounding the first left.
  void (*gemv_pair)(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                    const QuantizedVector& rest, float* y);
  // y[i · y_stride + r] = row r · (x[i] + rest[i]): for each token the bits of gemv (gemv_pair with a rest),
  // whatever others share the call; each block of weights is read and decoded once for all.
  void (*gemv_batch)(const void* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x,
                     float* y, size_t y_stride);
  // The form of a panel of such rows, and filling one for prefill's product: `count` rows from `rows` on.
  // Codes are kept as they are where the form has them; in form values8 exactly where the encoding has one
  // scale for each 32 and no offset, else rounded to 8 bits with a scale for each 32.
  PanelForm form;
  void (*fill_panel)(const void* rows, size_t row_bytes, size_t count, size_t k, const WeightPanel& panel);
};

const EncodingKernels& encoding_kernels(Encoding encoding, Target target);

// The instruction sets that this processor has, best last.
std::span<const Target> available_targets();
// The best of them, or the one that the environment variable CAIRN_TARGET names (Error invalid_argument when
// it is unknown or the processor lacks it).
Target default_target();
const char* name(Target target);

}  // namespace cairn::kernels
