// From floats to an encoding's blocks.
#pragma once

#include <cstddef>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// Writes one row. x: [elements], a multiple of the encoding's block_elements, finite, |x| ≤ 65,504 where the
// encoding keeps halves. importance: [elements], how much the squared error of each column costs, ≥ 0; null:
// all alike. The bytes are the same on every instruction set.
// Without importance Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4, F16 and BF16 are what the `gguf` Python package
// writes, bit for bit; otherwise scales are searched for the least weighted squared error (docs/encode.md).
using Quantize = void (*)(const float* x, const float* importance, size_t elements, void* blocks);

// Null: cairn reads this encoding, but does not write it. Error unsupported: this build has no such
// instruction set.
Quantize find_quantizer(Encoding encoding, Target target);

}  // namespace cairn::kernels
