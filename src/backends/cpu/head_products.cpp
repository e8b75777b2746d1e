// Products of each head's own matrix with the head's own part of the input.
#include <algorithm>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

// Features of a head in the op's input and output.
struct HeadStrides {
  HeadStrides(const graph::Model& model, const graph::Op& op)
      : in(model.width(op.input) / op.heads), out(model.width(op.output) / op.heads), kept(out - op.rows) {}
  size_t in, out;
  size_t kept;  // of the input behind those multiplied, that go behind the product
};

}  // namespace

void RowExecutor::run_head_products(const Step& step) {
  const BoundOp& bound = step.ops.front();
  const Matrix& matrix = bound.matrix;
  const graph::Op& op = bound.op;
  const HeadStrides strides(machine_.model, op);
  machine_.pool.run(op.heads, [&](size_t thread, size_t head) {
    const auto in = [&](size_t i) { return slot(op.input, active_[i]) + head * strides.in; };
    const auto out = [&](size_t i) { return slot(op.output, active_[i]) + head * strides.out; };
    const std::byte* weights = bound.expert_row(head, 0);
    if (!step.integer) {
      float* row = dequantized_[thread].data();
      for (size_t r = 0; r < matrix.rows; ++r) {
        matrix.encoding->dequantize(weights + r * matrix.row_bytes, matrix.k, row);
        for (size_t i = 0; i < count_; ++i) out(i)[r] = machine_.vector.dot(row, in(i), matrix.k);
      }
    } else {
      const auto& x = head_input_[thread];
      for (size_t i = 0; i < count_; ++i) {
        machine_.vector.token_quantize(in(i), matrix.k, const_cast<int8_t*>(x[i].values),
                                       const_cast<float*>(x[i].scales), const_cast<float*>(x[i].sums));
      }
      Prepared& own = prepared_[thread];
      own.encoding = nullptr;  // whatever a step before has left there
      matrix.encoding->prepare({x.data(), nullptr, count_}, matrix.k, own.memory.as<void>());
      const kernels::PreparedBatch batch{own.memory.as<void>(), count_, false};
      constexpr size_t kPart = 128;
      float y[kMostRows][kPart];
      for (size_t begin = 0; begin < matrix.rows; begin += kPart) {
        const size_t part = std::min(kPart, matrix.rows - begin);
        matrix.encoding->gemv(weights + begin * matrix.row_bytes, matrix.row_bytes, part, matrix.k, batch,
                              y[0], kPart);
        for (size_t i = 0; i < count_; ++i) std::copy_n(y[i], part, out(i) + begin);
      }
    }
    for (size_t i = 0; i < count_; ++i) std::copy_n(in(i) + matrix.k, strides.kept, out(i) + matrix.rows);
  });
}

void ChunkExecutor::run_head_products(const Step& step, ThreadPool& pool) {
  const BoundOp& bound = step.ops.front();
  const Matrix& matrix = bound.matrix;
  const graph::Op& op = bound.op;
  const HeadStrides strides(machine_.model, op);
  const size_t most = panel_rows(matrix.k, value_bytes(step, matrix));
  const size_t parts = (matrix.rows + most - 1) / most;
  pool.run(op.heads * parts, [&](size_t thread, size_t task) {
    const size_t head = task / parts, row = task % parts * most, rows = std::min(most, matrix.rows - row);
    const size_t padded = round_up(rows, machine_.gemm.tile_rows), k = matrix.k;
    const ThreadScratch& t = threads_[thread];
    fill_panel(step, matrix, bound.expert_row(head, row), rows, t);
    for (size_t i = 0; i < tiles_; ++i) {
      const float* in = tile(op.input, i) + head * strides.in * tile_tokens_;
      float* to = tile(op.output, i) + (head * strides.out + row) * tile_tokens_;
      float* out = padded == rows ? to : t.out;
      if (step.integer) {
        const kernels::ActivationTile x = kernels::activation_tile(machine_.gemm, t.head, k);
        machine_.gemm.quantize_tile(in, k, x);
        machine_.gemm.multiply(matrix.encoding->form, t.panel, padded, k, x, out);
      } else {
        machine_.gemm.multiply_f32(t.row, padded, k, in, out);
      }
      if (out != to) std::copy_n(out, rows * tile_tokens_, to);
      if (row != 0) continue;
      std::copy_n(in + k * tile_tokens_, strides.kept * tile_tokens_, to + matrix.rows * tile_tokens_);
    }
  });
}

}  // namespace cairn::cpu
