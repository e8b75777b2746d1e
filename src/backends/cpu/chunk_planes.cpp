// Prefill's products with a stack's matrices.
#include <algorithm>
#include <cstring>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

constexpr size_t kTileRows = kernels::kPlaneRows;

}  // namespace

// The step's input, rotated and with one scale a token, for all tiles.
void ChunkExecutor::prepare_planes(const Step& step, ThreadPool& pool) {
  const BoundOp& front = step.ops.front();
  const size_t k = front.matrix.k, lanes = tile_tokens_;
  pool.run(tiles_, [&](size_t thread, size_t index) {
    float* rotated = step.integer ? threads_[thread].rotated : planes_rotated_ + index * k * lanes;
    std::memcpy(rotated, tile(front.op.input, index), k * lanes * sizeof(float));
    if (front.matrix.rotation != nullptr)
      front.matrix.rotation->apply_tile(rotated, lanes, threads_[thread].mixing);
    if (!step.integer) return;
    float* scales = planes_scales_ + index * lanes;
    float inverse[kernels::kMostTileTokens];
    machine_.exact.token_largest(rotated, k, scales);
    for (size_t lane = 0; lane < lanes; ++lane) {
      inverse[lane] = scales[lane] > 1e-30f ? 127 / scales[lane] : 0;
      scales[lane] /= 127;
    }
    machine_.exact.quantize(rotated, k, inverse, planes_values_ + index * k * lanes);
  });
}

void ChunkExecutor::run_planes(const Step& step, ThreadPool& pool, float* logits) {
  prepare_planes(step, pool);
  const size_t k = step.ops.front().matrix.k;
  size_t total = 0;
  for (size_t op = 0; op < step.ops.size(); op += sharing_ops(step, op))
    total += step.ops[op].matrix.stack->layout->rows;
  // At least six tasks a thread, so that the last ones end together.
  const size_t fair = total / (6 * pool.threads()) / kTileRows;
  const auto most = static_cast<uint32_t>(std::max<size_t>(1, std::min(panel_rows(k, 1) / kTileRows, fair)));
  std::vector<PlanesTask> tasks;
  for (size_t op = 0; op < step.ops.size(); op += sharing_ops(step, op)) {
    const stack::Matrix& layout = *step.ops[op].matrix.stack->layout;
    for (uint32_t group = 0; group < layout.groups(); ++group) {
      const auto tiles = static_cast<uint32_t>((layout.group_rows(group) + kTileRows - 1) / kTileRows);
      for (uint32_t begin = 0; begin < tiles; begin += most)
        tasks.push_back({op, sharing_ops(step, op), group, begin, std::min(tiles, begin + most)});
    }
  }
  pool.run(tasks.size(), [&](size_t thread, size_t index) {
    const PlanesTask& task = tasks[index];
    const bool exact = exact_rows(step.ops[task.op].matrix, task.group) != nullptr;
    if (exact || !step.integer) {
      multiply_stored_rows(step, task, thread, logits);
    } else {
      multiply_planes(step, task, thread, logits);
    }
  });
}

void ChunkExecutor::multiply_planes(const Step& step, const PlanesTask& task, size_t thread, float* logits) {
  const ThreadScratch& t = threads_[thread];
  const BoundOp& bound = step.ops[task.op];
  const Matrix& matrix = bound.matrix;
  const size_t k = matrix.k;
  const kernels::PlaneRows rows = matrix.stack->planes(task.group);
  const kernels::PlaneTable& table = machine_.plan.set->table(rows.level);
  const uint32_t first = matrix.stack->layout->group_begin(task.group);
  for (uint32_t at = task.begin; at < task.end; ++at) {
    const size_t r = (at - task.begin) * kTileRows;
    machine_.planes.fill(rows, at, table, k, t.panel.values + r * k, t.panel.corrections + r);
    machine_.planes.scales(rows, at, t.panel.scales + r);
  }
  // Rows go straight to their places where one op's tile takes them all.
  const bool direct = logits == nullptr && task.ops == 1 && matrix.rows == matrix.stack->layout->rows;
  uint32_t own[kTileRows];
  for (uint32_t r = 0; r < kTileRows; ++r) own[r] = r;
  for (size_t i = 0; i < tiles_; ++i) {
    const uint8_t* values = planes_values_ + i * k * tile_tokens_;
    const float* scales = planes_scales_ + i * tile_tokens_;
    for (uint32_t at = task.begin; at < task.end; ++at) {
      const size_t r = (at - task.begin) * kTileRows, row = first + at * kTileRows;
      const uint32_t* destination = matrix.stack->destination.data() + row;
      machine_.planes.multiply({t.panel.values + r * k, t.panel.corrections + r, t.panel.scales + r,
                                direct ? destination : own, k},
                               values, scales, direct ? bound.bias : nullptr,
                               direct ? tile(bound.op.output, i) : t.identity);
      if (!direct) scatter(step, task, row, kTileRows, i, t.identity, logits);
    }
  }
}

// Exact rows of the source's encoding, and every row of float products.
void ChunkExecutor::multiply_stored_rows(const Step& step, const PlanesTask& task, size_t thread,
                                         float* logits) {
  const ThreadScratch& t = threads_[thread];
  const BoundOp& bound = step.ops[task.op];
  const Matrix& matrix = bound.matrix;
  const stack::Matrix& layout = *matrix.stack->layout;
  const size_t k = matrix.k;
  const std::byte* exact = exact_rows(matrix, task.group);
  const uint32_t end = std::min<uint32_t>(task.end * kTileRows, layout.group_rows(task.group));
  for (uint32_t row = task.begin * kTileRows; row < end; row += kTileRows) {
    const size_t rows = std::min<size_t>(kTileRows, end - row);
    const size_t first = layout.group_begin(task.group) + row;
    const size_t padded =
        (rows + machine_.gemm.tile_rows - 1) / machine_.gemm.tile_rows * machine_.gemm.tile_rows;
    if (step.integer) {
      matrix.encoding->fill_panel(exact + row * matrix.row_bytes, matrix.row_bytes, rows, k, t.panel);
    } else {
      for (size_t r = 0; r < rows; ++r)
        read_stored_row(machine_.plan, machine_.planes, matrix, static_cast<uint32_t>(first + r),
                        t.row + r * k);
    }
    for (size_t i = 0; i < tiles_; ++i) {
      if (step.integer) {
        machine_.gemm.multiply(matrix.encoding->form, t.panel, padded, k, quantized(bound.op.input, i, k),
                               t.identity);
      } else {
        const float* x = exact != nullptr ? tile(bound.op.input, i) : planes_rotated_ + i * k * tile_tokens_;
        machine_.gemm.multiply_f32(t.row, padded, k, x, t.identity);
      }
      scatter(step, task, first, rows, i, t.identity, logits);
    }
  }
}

// Rows [rows][tile_tokens] from stored row `first` on, to wherever the task's ops want them in tile `index`.
void ChunkExecutor::scatter(const Step& step, const PlanesTask& task, size_t first, size_t rows, size_t index,
                            const float* from, float* logits) {
  const size_t lanes = std::min(tile_tokens_, tokens_ - index * tile_tokens_);
  const uint32_t* destination = step.ops[task.op].matrix.stack->destination.data() + first;
  for (size_t op = task.op; op < task.op + task.ops; ++op) {
    const BoundOp& to = step.ops[op];
    for (size_t r = 0; r < rows; ++r) {
      const size_t row = destination[r] - size_t{to.matrix.first_row};  // rows before it wrap around
      if (row >= to.matrix.rows) continue;
      const float bias = to.bias == nullptr ? 0 : to.bias[row];
      const float* values = from + r * tile_tokens_;
      if (logits != nullptr) {
        const size_t vocabulary = machine_.model.parameters.vocabulary;
        for (size_t lane = 0; lane < lanes; ++lane)
          logits[(index * tile_tokens_ + lane) * vocabulary + row] = values[lane] + bias;
      } else {
        float* out = tile(to.op.output, index) + row * tile_tokens_;
        for (size_t lane = 0; lane < tile_tokens_; ++lane) out[lane] = values[lane] + bias;
      }
    }
  }
}

}  // namespace cairn::cpu
