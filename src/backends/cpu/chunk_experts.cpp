// A chunk's products with experts: the tokens that have chosen one are gathered into tiles of their own, so
// that its weights are unpacked once for all of them.
#include <algorithm>
#include <cstring>

#include "backends/cpu/executor.hpp"
#include "base/error.hpp"

namespace cairn::cpu {

using graph::Slot;

size_t ChunkExecutor::most_expert_tiles() const {
  const graph::HyperParameters& p = machine_.model.parameters;
  const size_t pairs = most_tiles_ * tile_tokens_ * p.experts_used;
  return (pairs + std::min<size_t>(p.experts, pairs) * (tile_tokens_ - 1)) / tile_tokens_;
}

void ChunkExecutor::route(const BoundOp& bound, size_t index) {
  const size_t used = bound.op.used;
  const size_t lanes = std::min(tile_tokens_, tokens_ - index * tile_tokens_);
  for (size_t lane = 0; lane < lanes; ++lane) {
    const size_t token = index * tile_tokens_ + lane;
    if (!cpu::route(bound, tile(bound.op.input, index) + lane, tile_tokens_, &chosen_[token * used]))
      chosen_[token * used] = UINT32_MAX;
  }
}

// Tokens by their experts, in tiles of one expert each.
void ChunkExecutor::group_by_expert(const Step& step) {
  const uint32_t experts = step.ops.front().op.experts, used = step.ops.front().op.used;
  const size_t pairs = tokens_ * used;
  for (size_t token = 0; token < tokens_; ++token) {
    if (chosen_[token * used] == UINT32_MAX)
      fail_route(machine_.plan, step.layer, position_ + static_cast<uint32_t>(token));
  }
  std::vector<uint32_t>& ends = expert_ends_;  // of each expert's pairs, in the order of experts
  ends.assign(experts + 1, 0);
  for (size_t i = 0; i < pairs; ++i) ++ends[chosen_[i] + 1];
  expert_tiles_.clear();
  for (uint32_t e = 0; e < experts; ++e) {
    const uint32_t begin = ends[e], count = ends[e + 1];
    for (uint32_t at = 0; at < count; at += static_cast<uint32_t>(tile_tokens_))
      expert_tiles_.push_back({e, begin + at, std::min(static_cast<uint32_t>(tile_tokens_), count - at)});
    ends[e + 1] += begin;
  }
  for (size_t i = 0; i < pairs; ++i) pairs_[ends[chosen_[i]]++] = static_cast<uint32_t>(i);
}

// One tile's tokens' inputs side by side, zeros in the lanes that none has.
void ChunkExecutor::gather(const Step& step, size_t index) {
  const Slot in = step.ops.front().op.input;
  const ExpertTile& group = expert_tiles_[index];
  const size_t k = step.ops.front().matrix.k, lanes = tile_tokens_;
  const uint32_t used = step.ops.front().op.used;
  if (!step.integer) {
    auto* to = reinterpret_cast<float*>(gathered(index));
    std::fill_n(to, k * lanes, 0.0F);
    for (size_t lane = 0; lane < group.count; ++lane) {
      const size_t token = pairs_[group.first + lane] / used;
      const float* from = tile(in, token / lanes) + token % lanes;
      for (size_t i = 0; i < k; ++i) to[i * lanes + lane] = from[i * lanes];
    }
    return;
  }
  uint8_t* memory = gathered(index);
  if (group.count < lanes) std::memset(memory, 0, kernels::activation_bytes(machine_.gemm, k));
  const kernels::ActivationTile to = kernels::activation_tile(machine_.gemm, memory, k);
  for (size_t lane = 0; lane < group.count; ++lane) {
    const size_t token = pairs_[group.first + lane] / used, at = token % lanes;
    const kernels::ActivationTile from = quantized(in, token / lanes, tile_width(in));
    const size_t bytes = machine_.gemm.step;
    for (size_t i = 0; i < k; i += bytes) {
      std::memcpy(to.values + machine_.gemm.tile_place(i, lane),
                  from.values + machine_.gemm.tile_place(i, at), bytes);
    }
    for (size_t i = 0; i < k / kernels::kGroup; ++i) {
      to.scales[i * lanes + lane] = from.scales[i * lanes + at];
      to.sums[i * lanes + lane] = from.sums[i * lanes + at];
      to.starts[i * lanes + lane] = from.starts[i * lanes + at];
    }
    for (size_t i = 0; machine_.gemm.has_halves && i < 2 * k / kernels::kGroup; ++i)
      to.half_starts[i * lanes + lane] = from.half_starts[i * lanes + at];
  }
}

void ChunkExecutor::run_experts(const Step& step, ThreadPool& pool) {
  const bool last = is_expert(step.ops.front().op.input);  // of the layer's products with experts
  if (machine_.expert_pages != nullptr && !last) {
    for (const ExpertTile& tile : expert_tiles_) machine_.expert_pages->use(step.layer, tile.expert);
  }
  if (!last) pool.run(expert_tiles_.size(), [&](size_t, size_t index) { gather(step, index); });
  struct Task {
    const BoundOp* bound;
    size_t begin, end;  // tiles of one expert
    size_t row, rows;
  };
  std::vector<Task> tasks;
  for (size_t begin = 0, end = 0; begin < expert_tiles_.size(); begin = end) {
    while (end < expert_tiles_.size() && expert_tiles_[end].expert == expert_tiles_[begin].expert) ++end;
    for (const BoundOp& bound : step.ops) {
      const size_t rows = panel_rows(bound.matrix.k, value_bytes(step, bound.matrix));
      for (size_t row = 0; row < bound.matrix.rows; row += rows)
        tasks.push_back({&bound, begin, end, row, std::min(rows, bound.matrix.rows - row)});
    }
  }
  pool.run(tasks.size(), [&](size_t thread, size_t index) {
    const Task& task = tasks[index];
    const BoundOp& bound = *task.bound;
    const ThreadScratch& t = threads_[thread];
    const uint32_t expert = expert_tiles_[task.begin].expert;
    fill_panel(step, bound.matrix, bound.expert_row(expert, task.row), task.rows, t);
    for (size_t i = task.begin; i < task.end; ++i)
      multiply_expert(step, bound, expert_tiles_[i], i, task.row, task.rows, t);
  });
  if (machine_.expert_pages != nullptr && last) machine_.expert_pages->keep_within();
}

// The panel that lies ready, of the tile's expert from `row` on, times one tile.
void ChunkExecutor::multiply_expert(const Step& step, const BoundOp& bound, const ExpertTile& group,
                                    size_t index, size_t row, size_t rows, const ThreadScratch& t) {
  const Slot in = bound.op.input, to = bound.op.output;
  const size_t k = bound.matrix.k, padded = round_up(rows, machine_.gemm.tile_rows);
  const bool scatters = to == Slot::expert_out;
  float* out = scatters ? t.out : tile(to, index) + row * tile_tokens_;
  if (step.integer) {
    const kernels::ActivationTile x =
        is_expert(in) ? quantized(in, index, k) : kernels::activation_tile(machine_.gemm, gathered(index), k);
    machine_.gemm.multiply(bound.matrix.encoding->form, t.panel, padded, k, x, out);
  } else {
    const float* x = is_expert(in) ? tile(in, index) : reinterpret_cast<const float*>(gathered(index));
    machine_.gemm.multiply_f32(t.row, padded, k, x, out);
  }
  if (const float* bias = bound.expert_bias(group.expert)) machine_.vector.tile_bias(out, bias + row, rows);
  if (!scatters) return;
  for (size_t lane = 0; lane < group.count; ++lane) {
    float* at = expert_rows_ + pairs_[group.first + lane] * bound.matrix.rows + row;
    for (size_t r = 0; r < rows; ++r) at[r] = out[r * tile_tokens_ + lane];
  }
}

// A token's first row takes the sum.
void ChunkExecutor::combine(const BoundOp& bound, size_t index) {
  const size_t width = machine_.model.width(bound.op.output), used = bound.op.used;
  const float* weights = tile(bound.op.input2, index);
  float* out = tile(bound.op.output, index);
  for (size_t lane = 0; lane < tile_tokens_; ++lane) {
    const size_t token = index * tile_tokens_ + lane;
    if (token >= tokens_) {  // finite numbers that nobody reads
      for (size_t f = 0; f < width; ++f) out[f * tile_tokens_ + lane] = 0;
      continue;
    }
    const uint32_t* chosen = &chosen_[token * used];
    float* sum = expert_rows_ + token * used * width;
    machine_.vector.scale(sum, weights[chosen[0] * tile_tokens_ + lane], width, sum);
    for (size_t j = 1; j < used; ++j)
      machine_.vector.add_scaled(sum + j * width, weights[chosen[j] * tile_tokens_ + lane], width, sum);
    for (size_t f = 0; f < width; ++f) out[f * tile_tokens_ + lane] = sum[f];
  }
}

}  // namespace cairn::cpu
