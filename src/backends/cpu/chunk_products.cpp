// A chunk's products with a model's matrices, and the head that ends in one.
#include <algorithm>

#include "backends/cpu/executor.hpp"
#include "base/error.hpp"

namespace cairn::cpu {
using graph::OpKind;
using graph::Slot;

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
    const size_t rows = std::min(panel_rows(bound.matrix.k, value_bytes(step, bound.matrix)), fair);
    for (size_t row = 0; row < bound.matrix.rows; row += rows)
      tasks.push_back({&bound, row, std::min(rows, bound.matrix.rows - row)});
  }
  pool.run(tasks.size(), [&](size_t thread, size_t index) {
    const Task& task = tasks[index];
    multiply(step, *task.bound, task.row, task.rows, thread, logits);
  });
}

void ChunkExecutor::fill_panel(const Step& step, const Matrix& matrix, const std::byte* first, size_t rows,
                               const ThreadScratch& t) const {
  if (step.integer) return matrix.encoding->fill_panel(first, matrix.row_bytes, rows, matrix.k, t.panel);
  for (size_t r = 0; r < rows; ++r)
    matrix.encoding->dequantize(first + r * matrix.row_bytes, matrix.k, t.row + r * matrix.k);
}

void ChunkExecutor::multiply(const Step& step, const BoundOp& bound, size_t row, size_t rows, size_t thread,
                             float* logits) {
  const ThreadScratch& t = threads_[thread];
  const Matrix& matrix = bound.matrix;
  const size_t k = matrix.k, padded = round_up(rows, machine_.gemm.tile_rows);
  fill_panel(step, matrix, matrix.row(row), rows, t);
  // Rows beyond the matrix's end multiply whatever the panel held before; their results are not read.
  const kernels::PanelForm form = matrix.encoding->form;
  for (size_t i = 0; i < tiles_; ++i) {
    float* out = logits != nullptr ? t.out : tile(bound.op.output, i) + row * tile_tokens_;
    if (step.integer) {
      machine_.gemm.multiply(form, t.panel, padded, k, quantized(bound.op.input, i, k), out);
      if (step.fine) {
        machine_.gemm.multiply(form, t.panel, padded, k, residual(k, i), t.residual);
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

kernels::ActivationTile ChunkExecutor::residual(size_t k, size_t index) const {
  return kernels::activation_tile(
      machine_.gemm, residual_.as<uint8_t>() + index * kernels::activation_bytes(machine_.gemm, k), k);
}

// What the 8 bits of a tile left of its activations, in 8 more.
void ChunkExecutor::quantize_residual(Slot slot, size_t index, float* rest) {
  const size_t k = machine_.model.width(slot);
  const kernels::ActivationTile first = quantized(slot, index, tile_width(slot));
  const float* x = tile(slot, index);
  for (size_t i = 0; i < k; ++i) {
    for (size_t lane = 0; lane < tile_tokens_; ++lane) {
      const int8_t value = first.values[machine_.gemm.tile_place(i, lane)];
      rest[i * tile_tokens_ + lane] =
          x[i * tile_tokens_ + lane] -
          first.scales[i / kernels::kGroup * tile_tokens_ + lane] * static_cast<float>(value);
    }
  }
  machine_.gemm.quantize_tile(rest, k, residual(k, index));
}

void ChunkExecutor::run_head(size_t tokens, float* logits, float* hidden) {
  for (const Step& step : machine_.plan.head) {
    if (step.kind == StepKind::linears) {
      if (hidden != nullptr) copy_rows(step.ops.front().op.input, tokens, hidden);
      if (logits == nullptr) return;
      if (step.fine) {
        const Slot slot = step.ops.front().op.input;
        const size_t k = machine_.model.width(slot);
        const size_t bytes = kernels::activation_bytes(machine_.gemm, k) * most_tiles_;
        if (residual_.bytes() == 0)
          residual_ = Buffer(bytes + machine_.pool.threads() * k * tile_tokens_ * sizeof(float));
        float* rest = reinterpret_cast<float*>(residual_.as<uint8_t>() + bytes);
        machine_.pool.run(tiles_, [&](size_t thread, size_t index) {
          quantize_residual(slot, index, rest + thread * k * tile_tokens_);
        });
      }
      run_linears(step, machine_.pool, logits);
    } else if (step.ops.front().op.input == Slot::logits) {
      for (const BoundOp& bound : step.ops) {
        const size_t all = tokens * machine_.model.parameters.vocabulary;
        if (bound.op.kind == OpKind::softcap) {
          machine_.vector.softcap(logits, bound.op.factor, all, logits);
        } else if (bound.op.kind == OpKind::scale) {
          machine_.vector.scale(logits, bound.op.factor, all, logits);
        } else {
          fail(ErrorCode::unsupported, "{} of a chunk's logits", graph::name(bound.op.kind));
        }
      }
    } else {
      run_floats(step, machine_.pool);
    }
  }
  // A model that makes embeddings has nothing to multiply it with.
  if (hidden != nullptr) copy_rows(Slot::normed, tokens, hidden);
}

}  // namespace cairn::cpu
