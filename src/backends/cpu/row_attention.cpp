// Few rows' attention, each over the pages of its own sequence.
#include <algorithm>
#include <cmath>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

using graph::Slot;

constexpr uint32_t kPart = 256;  // positions that one task reads, at most
// One head's keys serve all queries of latent attention: shorter parts are worth a task.
constexpr uint32_t kLatentPart = 64;

}  // namespace

// One kv head and one part of the positions; leaves sums to be merged.
struct RowExecutor::Part {
  size_t row;
  uint32_t head, begin, end;
  float* out;  // [group][head_size], maxima [group], sums [group]
};

// Makes ready what attention reads: the keys and values in the cache, and the query.
void RowExecutor::store_keys(const Step& step, size_t row) {
  const graph::HyperParameters& p = machine_.model.parameters;
  const graph::Op& op = step.ops.front().op;
  const size_t n = attention_shape(p, op).head_size;
  const uint32_t kv_heads = kv_heads_of(p, op);
  if (machine_.rotates()) rotate_heads(machine_.vector.token_hadamard, slot(Slot::query, row), n, p.heads, 1);
  if (op.shared != 0) return;
  float* keys = slot(Slot::key, row);
  float* values = slot(Slot::value, row);
  if (machine_.means && !(*machine_.means)[step.layer].empty()) {
    const std::vector<float>& mean = (*machine_.means)[step.layer];
    for (size_t i = 0; i < mean.size(); ++i) keys[i] -= mean[i];
  }
  if (machine_.biases && machine_.biases->has(step.layer)) {
    std::vector<float> bias = machine_.biases->values(step.layer);
    if (const BoundOp* rope = machine_.biases->rope(step.layer)) {
      for (uint32_t head = 0; head < kv_heads; ++head) {
        machine_.vector.token_rope(bias.data() + head * n, rope->op.rope.dims, rope->op.rope.neox,
                                   cosines_[row][rope->rope_table], sines_[row][rope->rope_table]);
      }
    }
    for (size_t i = 0; i < bias.size(); ++i) keys[i] -= bias[i];
  }
  if (machine_.rotates()) {
    rotate_heads(machine_.vector.token_hadamard, keys, n, kv_heads, 1);
    if (!op.latent) rotate_heads(machine_.vector.token_hadamard, values, n, kv_heads, 1);
  }
  for (uint32_t head = 0; head < kv_heads; ++head) {
    const PagedSequence::Place k = rows_[row].sequence->key(step.layer, head, rows_[row].position);
    const PagedSequence::Place v = rows_[row].sequence->value(step.layer, head, rows_[row].position);
    if (const float* feedback = machine_.feedback_of(step.layer, head)) {
      machine_.attention.store_fed_back(keys + head * n, n, feedback, k.row, k.scales);
    } else {
      machine_.attention.store_row(k.format, keys + head * n, n, k.row, k.scales);
    }
    if (!op.latent) machine_.attention.store_row(v.format, values + head * n, n, v.row, v.scales);
  }
}

void RowExecutor::run_attention(const Step& step) {
  const graph::HyperParameters& p = machine_.model.parameters;
  const graph::Op& op = step.ops.front().op;
  const kernels::AttentionShape shape = attention_shape(p, op);
  const uint32_t kv_heads = kv_heads_of(p, op), layer = step.layer - op.shared;
  const size_t n = shape.head_size, group = shape.group, each = group * (n + 2);
  const uint32_t most = op.latent ? kLatentPart : kPart;
  static thread_local std::vector<Part> parts;
  parts.clear();
  std::array<size_t, kMostRows + 1> first{};  // of each row's parts, which are its heads' one after the other
  for (size_t i = 0; i < count_; ++i) {
    store_keys(step, active_[i]);
    const uint32_t end = rows_[active_[i]].position + 1;
    const uint32_t begin = op.window != 0 && end > op.window ? end - op.window : 0;
    for (uint32_t head = 0; head < kv_heads; ++head) {
      for (uint32_t at = begin; at < end; at += most)
        parts.push_back({active_[i], head, at, std::min(end, at + most), nullptr});
    }
    first[i + 1] = parts.size();
  }
  const size_t scratch = machine_.attention.token_scratch(shape, kPart), results = parts.size() * each;
  attention_scratch_.resize(std::max(attention_scratch_.size(), results + machine_.pool.threads() * scratch));
  for (size_t i = 0; i < parts.size(); ++i) parts[i].out = attention_scratch_.data() + i * each;
  const std::vector<Part>& list = parts;
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Part& part = list[index];
    const PagedSequence& sequence = *rows_[part.row].sequence;
    machine_.attention.token(
        {shape, machine_.keys(sequence, layer, part.head), sequence.values(layer, part.head), part.begin,
         part.end, slot(Slot::query, part.row) + part.head * group * n, part.out, part.out + group * n,
         part.out + group * (n + 1)},
        attention_scratch_.data() + results + thread * scratch);
  });
  for (size_t i = 0; i < count_; ++i)
    merge_parts(step.ops.front(), active_[i], list.data() + first[i], (first[i + 1] - first[i]) / kv_heads);
}

// count: of each head's parts.
void RowExecutor::merge_parts(const BoundOp& bound, size_t row, const Part* parts, size_t count) {
  const kernels::AttentionShape shape = attention_shape(machine_.model.parameters, bound.op);
  const size_t n = shape.head_size, group = shape.group;
  for (size_t head = 0; head < kv_heads_of(machine_.model.parameters, bound.op); ++head, parts += count) {
    for (size_t q = 0; q < group; ++q) {
      float top = -INFINITY, total = 0;
      for (size_t i = 0; i < count; ++i) top = std::max(top, parts[i].out[group * n + q]);
      if (bound.bias != nullptr) {
        const float sink = bound.bias[head * group + q];
        top = std::max(top, sink);
        total = std::exp(sink - top);
      }
      float* out = slot(Slot::context, row) + (head * group + q) * n;
      std::fill_n(out, n, 0.0f);
      for (size_t i = 0; i < count; ++i) {
        const float* from = parts[i].out;
        const float weight = std::exp(from[group * n + q] - top);
        total += weight * from[group * (n + 1) + q];
        for (size_t d = 0; d < n; ++d) out[d] += weight * from[q * n + d];
      }
      machine_.vector.scale(out, 1 / total, n, out);
    }
  }
  if (machine_.rotates())
    rotate_heads(machine_.vector.token_hadamard, slot(Slot::context, row), n, machine_.model.parameters.heads,
                 1);
}

}  // namespace cairn::cpu
