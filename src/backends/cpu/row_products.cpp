// Few rows' products with a model's matrices.
#include <algorithm>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {

void RowExecutor::run_linears(const Step& step) {
  // Tasks of about this many bytes: small enough to balance, large enough to stream.
  constexpr size_t kTaskBytes = 96 << 10;
  struct Task {
    const BoundOp* bound;
    size_t row, rows;
  };
  size_t bytes = 0;
  for (const BoundOp& bound : step.ops) bytes += bound.matrix.rows * bound.matrix.row_bytes;
  const size_t share =
      std::max<size_t>(4096, std::min(kTaskBytes, bytes / (4 * machine_.pool.threads()) + 1));
  static thread_local std::vector<Task> tasks;
  tasks.clear();
  for (const BoundOp& bound : step.ops) {
    const size_t rows = std::max<size_t>(8, share / bound.matrix.row_bytes / 8 * 8);
    for (size_t row = 0; row < bound.matrix.rows; row += rows)
      tasks.push_back({&bound, row, std::min(rows, bound.matrix.rows - row)});
  }
  const std::vector<Task>& list = tasks;
  if (step.fine) {
    for (size_t i = 0; i < count_; ++i) quantize_residual(step.ops.front().op.input, active_[i]);
  }
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Task& task = list[index];
    multiply(step, *task.bound, task.row, task.rows, thread);
  });
}

// Rows [first, first + count) of the matrix.
void RowExecutor::multiply(const Step& step, const BoundOp& bound, size_t first, size_t count,
                           size_t thread) {
  const Matrix& matrix = bound.matrix;
  const graph::Slot in = bound.op.input, to = bound.op.output;
  if (step.integer) {
    for (size_t i = 0; i < count_; ++i) {
      const size_t row = active_[i];
      const kernels::QuantizedVector& x = quantized_[row][index_of(in)];
      float* out = output(to, row) + first;
      if (step.fine) {
        matrix.encoding->gemv_pair(matrix.row(first), matrix.row_bytes, count, matrix.k, x, residual_[row],
                                   out);
      } else {
        matrix.encoding->gemv(matrix.row(first), matrix.row_bytes, count, matrix.k, x, out);
      }
    }
  } else {
    float* weights = dequantized_[thread].data();
    for (size_t r = first; r < first + count; ++r) {
      matrix.encoding->dequantize(matrix.row(r), matrix.k, weights);
      for (size_t i = 0; i < count_; ++i)
        output(to, active_[i])[r] = machine_.vector.dot(weights, slot(in, active_[i]), matrix.k);
    }
  }
  if (bound.bias == nullptr) return;
  for (size_t i = 0; i < count_; ++i) {
    float* out = output(to, active_[i]) + first;
    machine_.vector.add(out, bound.bias + first, count, out);
  }
}

}  // namespace cairn::cpu
