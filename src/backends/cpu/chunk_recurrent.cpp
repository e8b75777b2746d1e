// A chunk's recurrent states: they are written anew, so that a chunk that is not finished changes nothing.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cpu/executor.hpp"
#include "backends/cpu/recurrent.hpp"

namespace cairn::cpu {

using graph::Slot;

void ChunkExecutor::run_recurrent(const Step& step, ThreadPool& pool) {
  const BoundOp& bound = step.ops.front();
  const RecurrentState& state = sequence_->state();
  uint32_t number = 0;
  if (bound.op.kind == graph::OpKind::convolve) {
    constexpr size_t kChannels = 64;  // of a task
    const ConvPart& part = state.layout().conv(step.layer);
    number = part.number;
    pool.run((part.channels + kChannels - 1) / kChannels, [&](size_t, size_t task) {
      convolve(bound, part, task * kChannels, std::min(part.channels, (task + 1) * kChannels));
    });
  } else {
    const DeltaPart& part = state.layout().delta(step.layer);
    const bool scans = bound.op.kind == graph::OpKind::selective_scan;
    number = part.number;
    if (scans) score_scan(bound, pool);
    pool.run(part.heads, [&](size_t thread, size_t head) {
      scans ? selective_scan(bound, part, head, delta_[thread])
            : delta_rule(bound, part, head, delta_[thread]);
    });
  }
  state.next().position(number) = position_ + static_cast<uint32_t>(tokens_);
  if (state.mark().page != nullptr) state.mark().position(number) = state.mark_position();
}

// Channels [begin, end).
void ChunkExecutor::convolve(const BoundOp& bound, const ConvPart& part, size_t begin, size_t end) {
  const RecurrentState& state = sequence_->state();
  const size_t kept = part.kept;
  static thread_local std::vector<float> line;  // of one channel: what was before, and the chunk's
  line.assign(kept + tiles_ * tile_tokens_, 0.0F);
  for (size_t c = begin; c < end; ++c) {
    for (size_t i = 0; i < kept && state.now().page != nullptr; ++i)
      line[i] = input_before(state.now(), part, position_, kept - i)[c];
    for (size_t i = 0; i < tiles_; ++i)
      std::copy_n(tile(bound.op.input, i) + c * tile_tokens_, tile_tokens_, &line[kept + i * tile_tokens_]);
    const float bias = bound.bias == nullptr ? 0 : bound.bias[c];
    for (size_t i = 0; i < tiles_; ++i) {
      machine_.recurrent.convolve_channel(&line[i * tile_tokens_], bound.weight->data() + c, bias, kept + 1,
                                          part.channels, tile_tokens_,
                                          tile(bound.op.output, i) + c * tile_tokens_);
    }
    const auto keep = [&](const StateView& view, size_t tokens) {
      for (size_t i = 0; i < kept; ++i) view.window(part)[i * part.channels + c] = line[tokens + i];
    };
    keep(state.next(), tokens_);
    if (state.mark().page != nullptr) keep(state.mark(), state.mark_position() - position_);
  }
}

void ChunkExecutor::delta_rule(const BoundOp& bound, const DeltaPart& part, size_t head,
                               const DeltaScratch& s) {
  const graph::Op& op = bound.op;
  const RecurrentState& state = sequence_->state();
  const StateView now = state.now();
  const size_t n = op.block, columns = part.columns, key_head = head % op.key_heads;
  const size_t mark = state.mark().page == nullptr ? 0 : state.mark_position() - position_;
  float* next = state.next().matrix(part, head);
  if (now.page == nullptr) std::fill_n(next, n * columns, 0.0F);
  for (size_t begin = 0, end = 0; begin < tokens_; begin = end) {
    end = std::min(tokens_, begin + kDeltaTokens);
    if (begin < mark) end = std::min(end, mark);
    for (size_t t = begin; t < end; ++t) {
      const size_t index = t / tile_tokens_, lane = t % tile_tokens_, at = (t - begin) * columns;
      const auto take = [&](size_t first, float* to) {
        const float* from = tile(op.input, index) + first * tile_tokens_ + lane;
        for (size_t f = 0; f < n; ++f) to[f] = from[f * tile_tokens_];
      };
      take(key_head * n, s.queries + at);
      take((op.key_heads + key_head) * n, s.keys + at);
      take((2 * op.key_heads + head) * n, s.values + at);
      normalise(machine_, op, s.queries + at, s.keys + at);
      s.decays[t - begin] = decay(bound, head, tile(op.input2, index)[head * tile_tokens_ + lane]);
      s.steps[t - begin] = sigmoid(tile(Slot::beta, index)[head * tile_tokens_ + lane]);
    }
    const bool first = begin == 0 && now.page != nullptr;
    kernels::DeltaPast past{};
    if (first)
      past = {position_ - now.position(part.number), now.keys(part, head), now.deltas(part, head),
              now.decays(part, head)};
    machine_.recurrent.delta_rule(
        {n, columns, part.key_stride(), first ? now.matrix(part, head) : next, nullptr, next}, past,
        {end - begin, s.queries, s.keys, s.values, s.decays, s.steps, s.out, nullptr}, s.block);
    for (size_t t = begin; t < end; ++t) {
      float* to = tile(op.output, t / tile_tokens_) + head * n * tile_tokens_ + t % tile_tokens_;
      for (size_t f = 0; f < n; ++f) to[f * tile_tokens_] = s.out[(t - begin) * columns + f];
    }
    if (end == mark && mark > 0) std::copy_n(next, n * columns, state.mark().matrix(part, head));
  }
  // Lanes past the end: finite numbers that nobody reads.
  for (size_t t = tokens_; t < tiles_ * tile_tokens_; ++t) {
    float* to = tile(op.output, t / tile_tokens_) + head * n * tile_tokens_ + t % tile_tokens_;
    for (size_t f = 0; f < n; ++f) to[f * tile_tokens_] = 0;
  }
}

// What heads that share B and C share of each tile.
void ChunkExecutor::score_scan(const BoundOp& bound, ThreadPool& pool) {
  const graph::Op& op = bound.op;
  const size_t groups = op.key_heads, size = op.state * tile_tokens_;
  pool.run(tiles_ * groups, [&](size_t, size_t task) {
    const float* keys = tile(op.input, task / groups) + op.heads * op.block * tile_tokens_;
    const size_t group = task % groups;
    machine_.recurrent.scan_scores(keys + group * size, keys + (groups + group) * size, op.state,
                                   scan_scores_ + task * tile_tokens_ * tile_tokens_);
  });
}

void ChunkExecutor::selective_scan(const BoundOp& bound, const DeltaPart& part, size_t head,
                                   const DeltaScratch& s) {
  const graph::Op& op = bound.op;
  const RecurrentState& state = sequence_->state();
  const StateView now = state.now();
  const size_t lanes = tile_tokens_, groups = op.key_heads, group = head / (op.heads / groups);
  const size_t mark = state.mark().page == nullptr ? 0 : state.mark_position() - position_;
  float* next = state.next().matrix(part, head);
  if (now.page == nullptr) {
    std::fill_n(next, part.keys * part.columns, 0.0F);
  } else {
    machine_.recurrent.selective_scan(
        {part.keys, part.columns, part.key_stride(), now.matrix(part, head), next, nullptr},
        {position_ - now.position(part.number), now.keys(part, head), now.deltas(part, head),
         now.decays(part, head)},
        {});
  }
  for (size_t i = 0; i < tiles_; ++i) {
    const float *x = tile(op.input, i), *keys = x + op.heads * op.block * lanes;
    const size_t begin = i * lanes;
    // Of the tile's first `count` tokens.
    const auto scan = [&](size_t count, float* to, float* out) {
      machine_.recurrent.scan_steps(tile(op.input2, i) + head * lanes, bound.bias[head],
                                    (*bound.weight)[head], count, s.steps, s.decays);
      std::fill(s.steps + count, s.steps + lanes, 0.0F);
      std::fill(s.decays + count, s.decays + lanes, 1.0F);
      machine_.recurrent.scan_tile(
          {op.state, op.block, x + head * op.block * lanes, keys + group * op.state * lanes,
           keys + (groups + group) * op.state * lanes, scan_scores_ + (i * groups + group) * lanes * lanes,
           s.steps, s.decays, (*bound.skip)[head]},
          part.columns, next, to, out, s.tile);
    };
    if (mark > begin && mark < begin + lanes) scan(mark - begin, state.mark().matrix(part, head), nullptr);
    scan(std::min(lanes, tokens_ - begin), next, tile(op.output, i) + head * op.block * lanes);
    if (mark > 0 && mark == begin + lanes)
      std::copy_n(next, part.keys * part.columns, state.mark().matrix(part, head));
  }
}

}  // namespace cairn::cpu
