#include <algorithm>
#include <cstring>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {

using graph::OpKind;
using graph::Slot;

float* ChunkExecutor::tile(Slot slot, size_t index) const {
  return slots_[index_of(slot)] + index * strides_[index_of(slot)];
}

size_t ChunkExecutor::tile_width(Slot slot) const {
  const bool one = slot == Slot::expert_gate || slot == Slot::expert_up;  // expert a tile
  return one ? machine_.model.parameters.expert_ffn : machine_.model.width(slot);
}

kernels::ActivationTile ChunkExecutor::quantized(Slot slot, size_t index, size_t k) const {
  const size_t bytes = kernels::activation_bytes(machine_.gemm, tile_width(slot));
  return kernels::activation_tile(machine_.gemm, quantized_[index_of(slot)] + index * bytes, k);
}

void ChunkExecutor::begin(PagedSequence& sequence, std::span<const int32_t> tokens, uint32_t position) {
  sequence_ = &sequence;
  tokens_ = tokens.size();
  tiles_ = (tokens_ + tile_tokens_ - 1) / tile_tokens_;
  position_ = position;
  embed(tokens);
}

void ChunkExecutor::run(PagedSequence& sequence, std::span<const int32_t> tokens, uint32_t position) {
  begin(sequence, tokens, position);
  run_steps(machine_.plan.layers, nullptr);
}

void ChunkExecutor::embed(std::span<const int32_t> tokens) {
  machine_.pool.run(tiles_, [&](size_t thread, size_t index) {
    for (size_t lane = 0; lane < tile_tokens_; ++lane) {
      const size_t token = index * tile_tokens_ + lane;
      const uint32_t at = position_ + static_cast<uint32_t>(std::min(token, tokens.size() - 1));
      for (size_t i = 0; i < machine_.plan.ropes.size(); ++i) {
        const graph::Rope& rope = machine_.plan.ropes[i];
        const size_t offset = index * (rope.dims / 2) * tile_tokens_ + lane;
        rope_table(rope, machine_.plan.rope_factors[i], at, tile_tokens_, cosines_[i] + offset,
                   sines_[i] + offset);
      }
    }
    for (const BoundOp& bound : machine_.plan.embed) {
      if (bound.matrix.encoding == nullptr) {
        run_float_op(bound, index);
        continue;
      }
      const Matrix& matrix = bound.matrix;
      float* row = threads_[thread].row;
      float* out = tile(bound.op.output, index);
      for (size_t lane = 0; lane < tile_tokens_; ++lane) {
        // Lanes past the end repeat the last token: finite numbers that nobody reads.
        const size_t token = std::min(index * tile_tokens_ + lane, tokens.size() - 1);
        const uint32_t at = position_ + static_cast<uint32_t>(token);
        read_row(machine_.plan, machine_.planes, matrix, row_of(bound.op, tokens[token], at),
                 threads_[thread].mixing, row);
        for (size_t f = 0; f < matrix.k; ++f) {
          float& value = out[f * tile_tokens_ + lane];
          value = bound.op.kind == OpKind::embed ? row[f] : value + row[f];
        }
      }
    }
  });
}

void ChunkExecutor::run_steps(std::span<const Step> steps, float* logits) {
  for (const Step& step : steps) {
    if (machine_.between_steps) machine_.between_steps();
    if (machine_.plan.set != nullptr) machine_.plan.set->boundary();
    const bool read = step.kind == StepKind::linears || step.kind == StepKind::heads;
    if (read && logits == nullptr && machine_.observer != nullptr) observe(step);
    if (step.kind == StepKind::linears) {
      run_linears(step, machine_.pool, logits);
    } else {
      run_step(step, machine_.pool);
    }
  }
}

void ChunkExecutor::run_step(const Step& step, ThreadPool& pool) {
  switch (step.kind) {
    case StepKind::floats:
      run_floats(step, pool);
      break;
    case StepKind::linears:
      run_linears(step, pool, nullptr);
      break;
    case StepKind::experts:
      run_experts(step, pool);
      break;
    case StepKind::heads:
      run_head_products(step, pool);
      break;
    case StepKind::attention:
      if (step.ops.front().op.shared == 0) store_keys(step, pool);
      attend(step, pool);
      break;
    case StepKind::recurrent:
      run_recurrent(step, pool);
      break;
  }
}

void ChunkExecutor::observe(const Step& step) {
  const Slot slot = step.ops.front().op.input, to = step.ops.front().op.output;
  // Of what an earlier step has read: it has been told.
  if (to == Slot::alpha || to == Slot::beta || to == Slot::shared_gate) return;
  const size_t width = machine_.model.width(slot);
  std::vector<float> rows(tokens_ * width);
  copy_rows(slot, tokens_, rows.data());
  (*machine_.observer)(step.layer, slot, rows.data(), tokens_, width);
}

// Out of the tiles, [tokens][width].
void ChunkExecutor::copy_rows(Slot slot, size_t tokens, float* to) const {
  const size_t width = machine_.model.width(slot);
  for (size_t token = 0; token < tokens; ++token) {
    const float* from = tile(slot, token / tile_tokens_) + token % tile_tokens_;
    for (size_t f = 0; f < width; ++f) *to++ = from[f * tile_tokens_];
  }
}

void ChunkExecutor::run_floats(const Step& step, ThreadPool& pool) {
  const graph::Op& first = step.ops.front().op;
  const bool of_experts = is_expert(first.input) && first.kind != OpKind::combine;
  pool.run(of_experts ? expert_tiles_.size() : tiles_, [&](size_t, size_t index) {
    for (const BoundOp& bound : step.ops) run_float_op(bound, index);
  });
  if (first.kind == OpKind::route) group_by_expert(step);
}

void ChunkExecutor::run_float_op(const BoundOp& bound, size_t index) {
  const kernels::VectorKernels& v = machine_.vector;
  const graph::Op& op = bound.op;
  if (op.kind == OpKind::route) return route(bound, index);
  if (op.kind == OpKind::combine) return combine(bound, index);
  const size_t width = op.width != 0 ? op.width : tile_width(op.input), all = width * tile_tokens_;
  float* in = tile(op.input, index);
  float* out = op.output == Slot::none ? in : tile(op.output, index);
  switch (op.kind) {
    case OpKind::scale:
      v.scale(in, op.factor, all, out);
      break;
    case OpKind::norm_rms: {
      const size_t heads = std::max(1u, op.heads), each = width / heads;
      for (size_t h = 0; h < heads; ++h) {
        v.tile_norm_rms(in + h * each * tile_tokens_, bound.weight->data() + (op.own ? h * each : 0),
                        op.epsilon, each, out + h * each * tile_tokens_);
      }
      break;
    }
    case OpKind::norm_layer:
      v.tile_norm_layer(in, bound.weight->data(), bound.bias, op.epsilon, width, out);
      break;
    case OpKind::rope: {
      const size_t each = width / op.heads, table = index * (op.rope.dims / 2) * tile_tokens_;
      for (size_t h = 0; h < op.heads; ++h) {
        v.tile_rope(in + (h * each + op.offset) * tile_tokens_, op.rope.dims, op.rope.neox,
                    cosines_[bound.rope_table] + table, sines_[bound.rope_table] + table);
      }
      break;
    }
    case OpKind::gate:
      v.gate(unary(op.activation), in, tile(op.input2, index) + op.offset * tile_tokens_, all, out);
      break;
    case OpKind::weigh:
      for (size_t lane = 0; lane < tile_tokens_; ++lane) {
        const float weight = sigmoid(in[lane]), *from = tile(op.input2, index) + lane;
        for (size_t f = 0; f < machine_.model.width(op.output); ++f)
          out[f * tile_tokens_ + lane] = from[f * tile_tokens_] * weight;
      }
      break;
    case OpKind::part: {
      const size_t each = all / op.heads / 2;
      for (size_t h = 0; h < op.heads; ++h)
        std::copy_n(in + (2 * h + op.row_begin) * each, each, out + h * each);
      break;
    }
    case OpKind::activate:
      v.activate(unary(op.activation), in, all, out);
      break;
    case OpKind::add:
      v.add(in, tile(op.input2, index), all, out);
      break;
    case OpKind::softcap:
      v.softcap(in, op.factor, all, out);
      break;
    case OpKind::rotate: {
      if (out != in) std::memcpy(out, in, all * sizeof(float));
      const size_t block = op.block == 0 ? width : op.block;
      v.tile_hadamard(out, block, width / block);
      break;
    }
    case OpKind::quantize:
      if (quantized_[index_of(op.input)] != nullptr) {
        machine_.gemm.quantize_tile(in, width, quantized(op.input, index, width));
      }
      break;
    case OpKind::embed:
    case OpKind::add_position:
    case OpKind::add_row:
    case OpKind::linear:
    case OpKind::expert_linear:
    case OpKind::head_linear:
    case OpKind::route:
    case OpKind::combine:
    case OpKind::attention:
    case OpKind::convolve:
    case OpKind::delta_rule:
    case OpKind::selective_scan:
    case OpKind::join:  // of rows alone
      break;            // steps of their own
  }
}

void ChunkExecutor::store_keys(const Step& step, ThreadPool& pool) {
  const graph::HyperParameters& p = machine_.model.parameters;
  const graph::Op& op = step.ops.front().op;
  const size_t n = attention_shape(p, op).head_size, head_floats = n * tile_tokens_;
  const uint32_t kv_heads = kv_heads_of(p, op);
  pool.run(tiles_, [&](size_t, size_t index) {
    const size_t lanes = std::min(tile_tokens_, tokens_ - index * tile_tokens_);
    const uint32_t at = position_ + static_cast<uint32_t>(index * tile_tokens_);
    if (machine_.means && !(*machine_.means)[step.layer].empty()) {
      const std::vector<float>& mean = (*machine_.means)[step.layer];
      float* keys = tile(Slot::key, index);
      for (size_t i = 0; i < mean.size(); ++i) {
        for (size_t t = 0; t < tile_tokens_; ++t) keys[i * tile_tokens_ + t] -= mean[i];
      }
    }
    if (machine_.biases && machine_.biases->has(step.layer)) take_off_bias(step.layer, index);
    if (machine_.rotates()) {
      for (const Slot s : {Slot::key, Slot::value}) {
        if (s == Slot::key || !op.latent)
          rotate_heads(machine_.vector.tile_hadamard, tile(s, index), n, kv_heads, tile_tokens_);
      }
    }
    // A tile may go on in the next page.
    for (size_t lane = 0; lane < lanes;) {
      const uint32_t position = at + static_cast<uint32_t>(lane);
      const size_t count =
          std::min<size_t>(lanes - lane, kernels::kPagePositions - position % kernels::kPagePositions);
      for (uint32_t head = 0; head < kv_heads; ++head) {
        const PagedSequence::Place k = sequence_->key(step.layer, head, position);
        const PagedSequence::Place v = sequence_->value(step.layer, head, position);
        const float* keys = tile(Slot::key, index) + head * head_floats;
        if (const float* feedback = machine_.feedback_of(step.layer, head)) {
          store_fed_back(n, keys, lane, count, feedback, k);
        } else {
          machine_.attention.store_tile(k.format, keys, n, lane, count, k.row, k.scales);
        }
        if (op.latent) continue;
        machine_.attention.store_tile(v.format, tile(Slot::value, index) + head * head_floats, n, lane, count,
                                      v.row, v.scales);
      }
      lane += count;
    }
  });
}

void ChunkExecutor::store_fed_back(size_t n, const float* keys, size_t lane, size_t count,
                                   const float* feedback, const PagedSequence::Place& place) {
  const size_t row_bytes = kernels::kv_row_bytes(place.format, n);
  const size_t scale_bytes = kernels::kv_scale_bytes(place.format, n);
  std::array<float, kernels::kMostFedBack> row;
  for (size_t t = 0; t < count; ++t) {
    for (size_t i = 0; i < n; ++i) row[i] = keys[i * tile_tokens_ + lane + t];
    machine_.attention.store_fed_back(row.data(), n, feedback,
                                      static_cast<std::byte*>(place.row) + t * row_bytes,
                                      static_cast<std::byte*>(place.scales) + t * scale_bytes);
  }
}

void ChunkExecutor::take_off_bias(uint32_t layer, size_t index) {
  const size_t n = machine_.model.parameters.head_size, lanes = tile_tokens_;
  const std::vector<float>& values = machine_.biases->values(layer);
  std::vector<float> bias(values.size() * lanes);
  for (size_t i = 0; i < values.size(); ++i) std::fill_n(&bias[i * lanes], lanes, values[i]);
  if (const BoundOp* rope = machine_.biases->rope(layer)) {
    const size_t table = index * (rope->op.rope.dims / 2) * lanes;
    for (size_t at = 0; at < values.size(); at += n) {
      machine_.vector.tile_rope(&bias[at * lanes], rope->op.rope.dims, rope->op.rope.neox,
                                cosines_[rope->rope_table] + table, sines_[rope->rope_table] + table);
    }
  }
  float* keys = tile(Slot::key, index);
  for (size_t i = 0; i < bias.size(); ++i) keys[i] -= bias[i];
}

void ChunkExecutor::attend(const Step& step, ThreadPool& pool) {
  const graph::Op& op = step.ops.front().op;
  const kernels::AttentionShape shape = attention_shape(machine_.model.parameters, op);
  const uint32_t kv_heads = kv_heads_of(machine_.model.parameters, op), layer = step.layer - op.shared;
  const float* sinks = step.ops.front().bias;
  const size_t head_floats = shape.head_size * tile_tokens_;
  const size_t together = query_tiles(shape), runs = (tiles_ + together - 1) / together;
  pool.run(runs * kv_heads, [&](size_t thread, size_t task) {
    const size_t index = (runs - 1 - task / kv_heads) * together;  // the longest first
    const uint32_t head = static_cast<uint32_t>(task % kv_heads);
    const size_t offset = head * shape.group * head_floats;
    const size_t count = std::min(together, tiles_ - index);
    const auto rotate = [&](Slot s) {
      for (size_t t = 0; t < count && machine_.rotates(); ++t) {
        rotate_heads(machine_.vector.tile_hadamard, tile(s, index + t) + offset, shape.head_size, shape.group,
                     tile_tokens_);
      }
    };
    rotate(Slot::query);
    machine_.attention.tiles(
        {shape, machine_.keys(*sequence_, layer, head), sequence_->values(layer, head),
         position_ + static_cast<uint32_t>(index * tile_tokens_),
         std::min(together * tile_tokens_, tokens_ - index * tile_tokens_), tile(Slot::query, index) + offset,
         tile(Slot::context, index) + offset, strides_[index_of(Slot::query)],
         sinks == nullptr ? nullptr : sinks + head * shape.group,
         op.causal ? 0 : position_ + static_cast<uint32_t>(tokens_)},
        threads_[thread].attention);
    rotate(Slot::context);
  });
}

void ChunkExecutor::take_hidden(const ChunkExecutor& from) {
  tokens_ = from.tokens_;
  tiles_ = from.tiles_;
  position_ = from.position_;
  for (const Slot s : {Slot::hidden, Slot::branch, Slot::branch2}) {
    if (slots_[index_of(s)] == nullptr) continue;
    std::memcpy(slots_[index_of(s)], from.slots_[index_of(s)],
                tiles_ * strides_[index_of(s)] * sizeof(float));
  }
}

void ChunkExecutor::hand_over(size_t token, RowExecutor& to) {
  const size_t index = token / tile_tokens_, lane = token % tile_tokens_;
  for (const Slot s : {Slot::hidden, Slot::branch, Slot::branch2}) {
    if (slots_[index_of(s)] == nullptr) continue;
    const float* from = tile(s, index) + lane;
    float* out = to.slot(s);
    for (size_t f = 0; f < machine_.model.width(s); ++f) out[f] = from[f * tile_tokens_];
  }
}

}  // namespace cairn::cpu
