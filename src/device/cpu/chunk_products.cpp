// A chunk's products with a model's matrices, and the head that ends in one.
#include <algorithm>

#include "device/cpu/executor.hpp"

namespace cairn::device::cpu {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kFilledRows = 8;  // of a panel, in one call: rows alone end in parts of vectors

bool uses_codes4(const kernels::GemmKernels& gemm, const Matrix& matrix) {
  return matrix.encoding->unpack4 != nullptr && (gemm.uses_codes4 || matrix.encoding->unpack8 == nullptr);
}

}  // namespace

void ChunkExecutor::run_linears(const Step& step, ThreadPool& pool, float* logits) {
  if (step.planes) return run_planes(step, pool, logits);
  struct Task {
    const BoundOp* bound;
    size_t row, rows;
  };
  size_t total = 0;
  for (const BoundOp& bound : step.ops) total += bound.matrix.rows;
  // At least six tasks a thread, so that the last ones end together.
  const size_t step_rows = machine_.gemm.tile_rows;
  const size_t fair = round_up(total / (6 * pool.threads()) + 1, step_rows);
  std::vector<Task> tasks;
  for (const BoundOp& bound : step.ops) {
    const size_t rows = std::min(panel_rows(bound.matrix.k), fair);
    for (size_t row = 0; row < bound.matrix.rows; row += rows)
      tasks.push_back({&bound, row, std::min(rows, bound.matrix.rows - row)});
  }
  pool.run(tasks.size(), [&](size_t thread, size_t index) {
    const Task& task = tasks[index];
    multiply(step, *task.bound, task.row, task.rows, thread, logits);
  });
}

kernels::PanelForm ChunkExecutor::panel_form(const Matrix& matrix) const {
  return uses_codes4(machine_.gemm, matrix) && machine_.gemm.uses_codes4 ? kernels::PanelForm::codes4
                                                                         : kernels::PanelForm::values8;
}

// `rows` rows of the matrix's encoding into the thread's panel, or into its float rows.
void ChunkExecutor::fill_panel(const Step& step, const Matrix& matrix, const std::byte* begin, size_t rows,
                               size_t thread) {
  const ThreadScratch& t = threads_[thread];
  const size_t k = matrix.k, groups = k / kernels::kGroup;
  const kernels::EncodingKernels& encoding = *matrix.encoding;
  const bool codes4 = uses_codes4(machine_.gemm, matrix);
  const bool values8 = encoding.unpack8 != nullptr && machine_.gemm.most_value == 127;
  for (size_t r = 0; r < rows; ++r) {
    const std::byte* from = begin + r * matrix.row_bytes;
    int8_t* values = t.panel.values + r * k;
    int32_t* corrections = t.panel.corrections + r * groups;
    float* scales = t.panel.scales + r * groups;
    if (!step.integer) {
      encoding.dequantize(from, k, t.row + r * k);
    } else if (codes4) {
      encoding.unpack4(from, k, reinterpret_cast<uint8_t*>(values), scales, t.panel.offsets + r * groups);
      if (r % kFilledRows != kFilledRows - 1 && r + 1 < rows) continue;
      const size_t first = r / kFilledRows * kFilledRows, group = first * groups;
      machine_.gemm.fill_codes4((r + 1 - first) * k, reinterpret_cast<uint8_t*>(t.panel.values + first * k),
                                t.panel.scales + group, t.panel.corrections + group, t.panel.offsets + group);
    } else if (values8) {
      encoding.unpack8(from, k, values, scales);
      machine_.gemm.fill_values8(k, values, corrections);
    } else {
      encoding.dequantize(from, k, t.row);
      machine_.gemm.fill_floats(t.row, k, values, corrections, scales);
    }
  }
}

void ChunkExecutor::multiply(const Step& step, const BoundOp& bound, size_t row, size_t rows, size_t thread,
                             float* logits) {
  const ThreadScratch& t = threads_[thread];
  const Matrix& matrix = bound.matrix;
  const size_t k = matrix.k, padded = round_up(rows, machine_.gemm.tile_rows);
  fill_panel(step, matrix, matrix.row(row), rows, thread);
  // Rows beyond the matrix's end multiply whatever the panel held before; their results are not read.
  const kernels::PanelForm form = panel_form(matrix);
  for (size_t i = 0; i < tiles_; ++i) {
    float* out = logits != nullptr ? t.out : tile(bound.op.output, i) + row * tile_tokens_;
    if (step.integer) {
      machine_.gemm.multiply(form, t.panel, padded, k, quantized(bound.op.input, i), out);
      if (step.fine) {
        const size_t values = i * k * tile_tokens_;
        machine_.gemm.multiply(form, t.panel, padded, k,
                               {residual_.values + values, residual_.scales + values / kernels::kGroup,
                                residual_.sums + values / kernels::kGroup},
                               t.residual);
        machine_.vector.add(out, t.residual, padded * tile_tokens_, out);
      }
    } else {
      machine_.gemm.multiply_f32(t.row, padded, k, tile(bound.op.input, i), out);
    }
    if (bound.bias != nullptr) machine_.vector.tile_bias(out, bound.bias + row, rows);
    if (logits == nullptr) continue;
    const size_t lanes = std::min(tile_tokens_, tokens_ - i * tile_tokens_);
    for (size_t lane = 0; lane < lanes; ++lane) {
      float* to = logits + (i * tile_tokens_ + lane) * machine_.model.parameters.vocabulary + row;
      for (size_t r = 0; r < rows; ++r) to[r] = out[r * tile_tokens_ + lane];
    }
  }
}

// What the 8 bits of a tile left of its activations, in 8 more.
void ChunkExecutor::quantize_residual(Slot slot, size_t index, float* rest) {
  const size_t k = machine_.model.width(slot), all = k * tile_tokens_;
  const kernels::ActivationTile first = quantized(slot, index);
  const float* x = tile(slot, index);
  for (size_t i = 0; i < k; ++i) {
    for (size_t lane = 0; lane < tile_tokens_; ++lane) {
      const int value = first.values[(i / 4 * tile_tokens_ + lane) * 4 + i % 4] - 128;
      rest[i * tile_tokens_ + lane] =
          x[i * tile_tokens_ + lane] -
          first.scales[i / kernels::kGroup * tile_tokens_ + lane] * static_cast<float>(value);
    }
  }
  machine_.gemm.quantize_tile(
      rest, k,
      {residual_.values + index * all, residual_.scales + index * all / kernels::kGroup,
       residual_.sums + index * all / kernels::kGroup});
}

void ChunkExecutor::run_head(size_t tokens, float* logits) {
  for (const Step& step : machine_.plan.head) {
    if (step.kind == StepKind::linears) {
      if (step.fine) {
        const Slot slot = step.ops.front().op.input;
        const size_t tile_floats = machine_.model.width(slot) * tile_tokens_, all = tile_floats * most_tiles_;
        if (residual_memory_.bytes() == 0) {
          residual_memory_ = Buffer(
              all + (2 * all / kernels::kGroup + machine_.pool.threads() * tile_floats) * sizeof(float));
          residual_.values = residual_memory_.as<uint8_t>();
          residual_.scales = reinterpret_cast<float*>(residual_.values + all);
          residual_.sums = residual_.scales + all / kernels::kGroup;
          residual_rest_ = residual_.sums + all / kernels::kGroup;
        }
        machine_.pool.run(tiles_, [&](size_t thread, size_t index) {
          quantize_residual(slot, index, residual_rest_ + thread * tile_floats);
        });
      }
      run_linears(step, machine_.pool, logits);
    } else if (step.ops.front().op.input == Slot::logits) {
      for (const BoundOp& bound : step.ops) {
        const size_t all = tokens * machine_.model.parameters.vocabulary;
        if (bound.op.kind == OpKind::softcap) machine_.vector.softcap(logits, bound.op.factor, all, logits);
        if (bound.op.kind == OpKind::scale) machine_.vector.scale(logits, bound.op.factor, all, logits);
      }
    } else {
      run_floats(step, machine_.pool);
    }
  }
}

}  // namespace cairn::device::cpu
