// What both executors need to compute with a stack's bit planes.
#pragma once

#include "backends/cpu/plan.hpp"
#include "base/buffer.hpp"
#include "kernels/planes.hpp"

namespace cairn::cpu {

// A step's input as planes read it, one token: rotated, and int8 with one scale.
struct PlanesInput {
  PlanesInput() = default;
  explicit PlanesInput(const Plan& plan);  // room for the widest input of a planes step
  Buffer memory{};
  float* rotated = nullptr;       // [k]
  float* scratch = nullptr;       // [Plan::rotation_scratch()]
  int8_t* values = nullptr;       // [k]
  uint8_t* magnitudes = nullptr;  // [k]
};

// Tiles [begin, begin + tiles) of a group; k columns.
kernels::PlaneRows slice(const kernels::PlaneRows& rows, uint32_t begin, uint32_t tiles, size_t k);

// A row of a matrix of the model, whether a stack's or not, in the source's coordinates. scratch:
// [Plan::rotation_scratch()].
void read_row(const Plan& plan, const kernels::PlaneKernels& kernels, const Matrix& matrix, uint32_t row,
              float* scratch, float* out);
// A stack's stored row as planes multiply it: rotated like the input, unless it is one of a group's exact
// rows. draft: from what a draft takes.
void read_stored_row(const Plan& plan, const kernels::PlaneKernels& kernels, const Matrix& matrix,
                     uint32_t stored, float* out, bool draft = false);
// Where a group's exact rows begin; null while it is at a level of planes.
const std::byte* exact_rows(const Matrix& matrix, uint32_t group);

// Ops of a planes step that share a matrix lie side by side: how many from `op` on.
size_t sharing_ops(const Step& step, size_t op);

}  // namespace cairn::cpu
