// Few rows' attention, each over the pages of its own sequence.
#include <algorithm>
#include <cmath>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

using graph::Slot;

constexpr uint32_t kPart = 256;  // positions that one task reads, or that it reads at a time
// One head's keys serve all queries of latent attention: shorter parts are worth a task, but each has room
// for what all of these make.
constexpr uint32_t kLatentPart = kernels::kPagePositions, kMostLatentParts = 32;

uint32_t part_of(const graph::Op& op, uint32_t positions) {
  if (!op.latent) return kPart;
  return kLatentPart *
         std::max(1U, (positions + kLatentPart * kMostLatentParts - 1) / (kLatentPart * kMostLatentParts));
}

// Sums of two parts, which are [group][n], maxima [group], sums [group]: to's become those of both.
void add_sums(const float* from, size_t group, size_t n, float* to) {
  for (size_t q = 0; q < group; ++q) {
    float& top = to[group * n + q];
    const float other = from[group * n + q], both = std::max(top, other);
    const float kept = std::exp(top - both), added = std::exp(other - both);
    for (size_t d = 0; d < n; ++d) to[q * n + d] = kept * to[q * n + d] + added * from[q * n + d];
    float& sum = to[group * (n + 1) + q];
    sum = kept * sum + added * from[group * (n + 1) + q];
    top = both;
  }
}

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
  static thread_local std::vector<Part> parts;
  parts.clear();
  std::array<size_t, kMostRows + 1> first{};  // of each row's parts, which are its heads' one after the other
  for (size_t i = 0; i < count_; ++i) {
    store_keys(step, active_[i]);
    const uint32_t end = rows_[active_[i]].position + 1;
    const uint32_t begin = op.window != 0 && end > op.window ? end - op.window : 0;
    const uint32_t part = part_of(op, end - begin);
    for (uint32_t head = 0; head < kv_heads; ++head) {
      for (uint32_t at = begin; at < end; at += part)
        parts.push_back({active_[i], head, at, std::min(end, at + part), nullptr});
    }
    first[i + 1] = parts.size();
  }
  const size_t kernel = machine_.attention.token_scratch(shape, kPart), results = parts.size() * each;
  const size_t scratch = kernel + (op.latent ? each : 0);
  attention_scratch_.resize(std::max(attention_scratch_.size(), results + machine_.pool.threads() * scratch));
  for (size_t i = 0; i < parts.size(); ++i) parts[i].out = attention_scratch_.data() + i * each;
  const std::vector<Part>& list = parts;
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Part& part = list[index];
    const PagedSequence& sequence = *rows_[part.row].sequence;
    float* own = attention_scratch_.data() + results + thread * scratch;
    for (uint32_t at = part.begin; at < part.end; at += kPart) {
      float* out = at == part.begin ? part.out : own + kernel;
      machine_.attention.token(
          {shape, machine_.keys(sequence, layer, part.head), sequence.values(layer, part.head), at,
           std::min(part.end, at + kPart), slot(Slot::query, part.row) + part.head * group * n, out,
           out + group * n, out + group * (n + 1)},
          own);
      if (at != part.begin) add_sums(out, group, n, part.out);
    }
  });
  for (size_t i = 0; i < count_; ++i)
    merge_parts(step.ops.front(), active_[i], list.data() + first[i], (first[i + 1] - first[i]) / kv_heads);
}

// count: of each head's parts.
void RowExecutor::merge_parts(const BoundOp& bound, size_t row, const Part* parts, size_t count) {
  const kernels::AttentionShape shape = attention_shape(machine_.model.parameters, bound.op);
  const size_t n = shape.head_size, group = shape.group;
  for (size_t head = 0; head < kv_heads_of(machine_.model.parameters, bound.op); ++head, parts += count) {
    const auto merge = [&](size_t q) {
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
    };
    if (bound.op.latent) {
      machine_.pool.run(group, [&](size_t, size_t q) { merge(q); });
    } else {
      for (size_t q = 0; q < group; ++q) merge(q);
    }
  }
  if (machine_.rotates())
    rotate_heads(machine_.vector.token_hadamard, slot(Slot::context, row), n, machine_.model.parameters.heads,
                 1);
}

}  // namespace cairn::cpu
