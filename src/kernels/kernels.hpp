// kernels: SIMD loops on raw pointers; no allocation, no threads, no file. Written once with Highway,
// compiled for each instruction set, chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/encoding.hpp"
#include "kernels/panel.hpp"

namespace cairn::kernels {

enum class Target : uint8_t {
  portable,
  avx2,
  avxvnni,
  avx512,
  avx512vnni,
  neon,          // ARMv8.0
  neon_dotprod,  // with SDOT: most since ARMv8.2
  neon_i8mm,     // with SMMLA: most since ARMv8.6
  count
};

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
  const QuantizedVector* x;  // [count]
  // [count]: what rounding x left, to be added to it, in steps that are kFineSteps to one of x's:
  // rest[i].scales[g] = x[i].scales[g] / kFineSteps, so that both together are integers of 16 bits. Or null.
  const QuantizedVector* rest;
  size_t count;  // any; eight share a reading of the weights
};
constexpr int kFineSteps = 254;  // half a step of x is 127 of them

// The same as an encoding's gemv reads them: what prepare wrote for its k.
struct PreparedBatch {
  const void* data;
  size_t count;
  bool fine;  // whether there was a rest
};

// What an encoding gives each instruction set. Rows are `row_bytes` apart; k is a multiple of block_elements.
struct EncodingKernels {
  // The exact values, equal bit for bit to the `gguf` Python package's dequantize.
  void (*dequantize)(const void* blocks, size_t elements, float* out);
  // Activations in the order in which gemv reads them, made once for all rows of a matrix. `prepared` has
  // prepared_bytes, begins at a multiple of 64 and may refer to what x points to.
  size_t (*prepared_bytes)(size_t k, size_t count, bool fine);
  void (*prepare)(const VectorBatch& x, size_t k, void* prepared);
  // y[i · y_stride + r] = row r · (x[i] + rest[i]) for r in [0, rows): decode's product, bound by memory
  // bandwidth for one token. A token's bits do not depend on which others share the call, and each block of
  // weights is read and decoded once for all.
  void (*gemv)(const void* weights, size_t row_bytes, size_t rows, size_t k, const PreparedBatch& x, float* y,
               size_t y_stride);
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
// What this processor's best lacks of the best that cairn knows, in a line; on ARM64 alone, else empty.
const char* lacking();
const char* name(Target target);

}  // namespace cairn::kernels
