#include "backends/cpu/planes.hpp"

#include <algorithm>

namespace cairn::cpu {

PlanesInput::PlanesInput(const Plan& plan) {
  size_t widest = 0;
  for (const std::vector<Step>* steps : {&plan.layers, &plan.head}) {
    for (const Step& step : *steps) {
      if (step.planes) widest = std::max(widest, step.ops.front().matrix.k);
    }
  }
  const size_t padded = (widest + 63) / 64 * 64, mixing = plan.rotation_scratch();
  memory = Buffer(padded * (sizeof(float) + 2) + mixing * sizeof(float));
  scratch = memory.as<float>();
  rotated = scratch + mixing;
  values = reinterpret_cast<int8_t*>(rotated + padded);
  magnitudes = reinterpret_cast<uint8_t*>(values + padded);
}

kernels::PlaneRows slice(const kernels::PlaneRows& rows, uint32_t begin, uint32_t tiles, size_t k) {
  kernels::PlaneRows part = rows;
  part.tiles = tiles;
  part.scales += size_t{begin} * kernels::kPlaneRows;
  const size_t tile_bytes = k / kernels::kPlaneColumns * kernels::kPlaneBytes;
  for (uint32_t plane = 0; plane < rows.level; ++plane) part.planes[plane] += begin * tile_bytes;
  return part;
}

const std::byte* exact_rows(const Matrix& matrix, uint32_t group) {
  const resident::Group& g = matrix.stack->groups[group];
  return g.level == matrix.stack->layout->exact() ? g.blocks[g.level - 1] : nullptr;
}

void read_stored_row(const Plan& plan, const kernels::PlaneKernels& kernels, const Matrix& matrix,
                     uint32_t stored, float* out, bool draft) {
  const uint32_t each = matrix.stack->layout->rows_per_group, group = stored / each, r = stored % each;
  if (const std::byte* exact = draft ? nullptr : exact_rows(matrix, group)) {
    matrix.encoding->dequantize(exact + r * matrix.row_bytes, matrix.k, out);
    return;
  }
  const kernels::PlaneRows rows = matrix.stack->planes(group, draft);
  kernels.row(rows, r, plan.set->table(rows.level), matrix.k, out);
}

void read_row(const Plan& plan, const kernels::PlaneKernels& kernels, const Matrix& matrix, uint32_t row,
              float* scratch, float* out) {
  if (matrix.stack == nullptr) {
    matrix.encoding->dequantize(matrix.row(row), matrix.k, out);
    return;
  }
  const uint32_t stored = matrix.stack->stored[row];
  read_stored_row(plan, kernels, matrix, stored, out);
  const bool exact = exact_rows(matrix, stored / matrix.stack->layout->rows_per_group) != nullptr;
  if (matrix.rotation != nullptr && !exact) matrix.rotation->apply_inverse(out, scratch);
}

size_t sharing_ops(const Step& step, size_t op) {
  size_t end = op + 1;
  while (end < step.ops.size() && step.ops[end].matrix.stack == step.ops[op].matrix.stack) ++end;
  return end - op;
}

}  // namespace cairn::cpu
