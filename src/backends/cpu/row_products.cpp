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
  const auto rows_of = [this](const BoundOp& bound) {
    return bound.op.output == graph::Slot::logits ? std::min(bound.matrix.rows, head_rows_)
                                                  : bound.matrix.rows;
  };
  size_t bytes = 0;
  for (const BoundOp& bound : step.ops) bytes += rows_of(bound) * bound.matrix.row_bytes;
  const size_t share =
      std::max<size_t>(4096, std::min(kTaskBytes, bytes / (4 * machine_.pool.threads()) + 1));
  static thread_local std::vector<Task> tasks;
  tasks.clear();
  for (const BoundOp& bound : step.ops) {
    const size_t rows = std::max<size_t>(8, share / bound.matrix.row_bytes / 8 * 8);
    for (size_t row = 0; row < rows_of(bound); row += rows)
      tasks.push_back({&bound, row, std::min(rows, rows_of(bound) - row)});
  }
  const std::vector<Task>& list = tasks;
  if (step.fine) {
    for (size_t i = 0; i < count_; ++i) quantize_residual(step.ops.front().op.input, active_[i]);
  }
  gather(step);
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Task& task = list[index];
    multiply(step, *task.bound, task.row, task.rows, thread);
  });
}

// The step's input, of the rows that the steps are run on.
void RowExecutor::gather(const Step& step) {
  const size_t in = index_of(step.ops.front().op.input);
  for (size_t i = 0; i < count_; ++i) {
    x_[i] = quantized_[active_[i]][in];
    rest_[i] = residual_[active_[i]];
  }
  ++gathered_;
}

kernels::PreparedBatch RowExecutor::prepared(const kernels::EncodingKernels& encoding, size_t k, bool fine,
                                             size_t thread) {
  Prepared& own = prepared_[thread];
  if (own.encoding != &encoding || own.gathered != gathered_) {
    encoding.prepare({x_.data(), fine ? rest_.data() : nullptr, count_}, k, own.memory.as<void>());
    own.encoding = &encoding;
    own.gathered = gathered_;
  }
  return {own.memory.as<void>(), count_, fine};
}

// Rows [first, first + count) of the matrix.
void RowExecutor::multiply(const Step& step, const BoundOp& bound, size_t first, size_t count,
                           size_t thread) {
  const Matrix& matrix = bound.matrix;
  const graph::Slot in = bound.op.input, to = bound.op.output;
  if (!step.integer) {
    float* weights = dequantized_[thread].data();
    for (size_t r = first; r < first + count; ++r) {
      matrix.encoding->dequantize(matrix.row(r), matrix.k, weights);
      for (size_t i = 0; i < count_; ++i)
        output(to, active_[i])[r] = machine_.vector.dot(weights, slot(in, active_[i]), matrix.k);
    }
  } else {
    const kernels::PreparedBatch x = prepared(*matrix.encoding, matrix.k, step.fine, thread);
    const auto product = [&](size_t begin, size_t rows, float* y, size_t stride) {
      matrix.encoding->gemv(matrix.row(begin), matrix.row_bytes, rows, matrix.k, x, y, stride);
    };
    if (count_ == 1) {
      product(first, count, output(to, active_[0]) + first, 0);
    } else if (to != graph::Slot::logits && active_[count_ - 1] + 1 == count_) {  // slots at one distance
      product(first, count, slot(to) + first, row_bytes_ / sizeof(float));
    } else {
      constexpr size_t kLogits = 128;
      float y[kMostRows][kLogits];
      for (size_t begin = first; begin < first + count; begin += kLogits) {
        const size_t part = std::min(kLogits, first + count - begin);
        product(begin, part, y[0], kLogits);
        for (size_t i = 0; i < count_; ++i) std::copy_n(y[i], part, output(to, active_[i]) + begin);
      }
    }
  }
  if (bound.bias == nullptr) return;
  for (size_t i = 0; i < count_; ++i) {
    float* out = output(to, active_[i]) + first;
    machine_.vector.add(out, bound.bias + first, count, out);
  }
}

}  // namespace cairn::cpu
