#include <algorithm>
#include <cmath>
#include <cstring>

#include "device/cpu/executor.hpp"

namespace cairn::device::cpu {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kPart = 256;  // positions of the cache that one task of decode's attention reads
constexpr size_t kAlign = 16;  // floats: a cache line

size_t padded(size_t n) {
  return (n + kAlign - 1) / kAlign * kAlign;
}

}  // namespace

TokenExecutor::TokenExecutor(const Machine& machine) : machine_(machine), planes_(machine.plan) {
  constexpr size_t kSlots = static_cast<size_t>(Slot::count);
  size_t floats = 0;
  std::array<size_t, kSlots> at{}, quantized_at{};
  for (size_t i = 0; i < kSlots; ++i) {
    const Slot slot = static_cast<Slot>(i);
    // The caller owns the logits; nothing reads token ids from a slot.
    const size_t slot_width = slot == Slot::logits || slot == Slot::tokens ? 0 : machine.model.width(slot);
    at[i] = floats;
    floats += padded(slot_width);
    quantized_at[i] = floats;
    // int8 values (with room for a whole vector beyond the end), scales, sums.
    floats += padded(slot_width / 4 + kAlign) + 2 * padded(slot_width / kernels::kGroup + 1);
  }
  const size_t width = machine.model.width(Slot::normed);
  const size_t residual_at = floats;
  floats += padded(width) + padded(width / 4 + kAlign) + 2 * padded(width / kernels::kGroup + 1);
  size_t ropes = 0;
  for (const graph::Rope& rope : machine.plan.ropes) ropes += 2 * padded(rope.dims / 2);
  memory_ = Buffer((floats + ropes) * sizeof(float));
  float* base = memory_.as<float>();
  for (size_t i = 0; i < kSlots; ++i) {
    const size_t slot_width = machine.model.width(static_cast<Slot>(i));
    slots_[i] = base + at[i];
    float* values = base + quantized_at[i];
    float* scales = values + padded(slot_width / 4 + kAlign);
    quantized_[i] = {reinterpret_cast<int8_t*>(values), scales,
                     scales + padded(slot_width / kernels::kGroup + 1)};
  }
  residual_floats_ = base + residual_at;
  float* residual_values = residual_floats_ + padded(width);
  float* residual_scales = residual_values + padded(width / 4 + kAlign);
  residual_ = {reinterpret_cast<int8_t*>(residual_values), residual_scales,
               residual_scales + padded(width / kernels::kGroup + 1)};
  float* table = base + floats;
  for (const graph::Rope& rope : machine.plan.ropes) {
    cosines_.push_back(table);
    sines_.push_back(table + padded(rope.dims / 2));
    table += 2 * padded(rope.dims / 2);
  }
  size_t widest = 0;  // of float products
  for (const std::vector<Step>* steps : {&machine.plan.layers, &machine.plan.head}) {
    for (const Step& step : *steps) {
      if (step.kind == StepKind::linears && !step.integer)
        widest = std::max(widest, step.ops.front().matrix.k);
    }
  }
  rows_.assign(machine.pool.threads(), std::vector<float>(widest));
}

void TokenExecutor::run(int32_t token, uint32_t position, float* logits) {
  for (size_t i = 0; i < machine_.plan.ropes.size(); ++i) {
    rope_table(machine_.plan.ropes[i], machine_.plan.rope_factors[i], position, 1, cosines_[i], sines_[i]);
  }
  for (const BoundOp& bound : machine_.plan.embed) {
    if (bound.op.kind == OpKind::embed) {
      read_row(machine_.plan, machine_.planes, bound.matrix, static_cast<uint32_t>(token), planes_.scratch,
               slot(bound.op.output));
    } else {
      run_floats({StepKind::floats, 0, {bound}});
    }
  }
  run_steps(machine_.plan.layers, position, nullptr);
  if (logits != nullptr) run_head(logits);
}

void TokenExecutor::run_head(float* logits) {
  slots_[static_cast<size_t>(Slot::logits)] = logits;
  run_steps(machine_.plan.head, 0, logits);
}

void TokenExecutor::run_steps(std::span<const Step> steps, uint32_t position, float*) {
  for (const Step& step : steps) {
    if (machine_.plan.set != nullptr) machine_.plan.set->boundary();
    switch (step.kind) {
      case StepKind::floats:
        run_floats(step);
        break;
      case StepKind::linears:
        step.planes ? run_planes(step) : run_linears(step);
        break;
      case StepKind::attention:
        run_attention(step, position);
        break;
    }
  }
}

void TokenExecutor::quantize(Slot which) {
  const kernels::QuantizedVector& q = quantized_[static_cast<size_t>(which)];
  machine_.vector.token_quantize(slot(which), machine_.model.width(which), const_cast<int8_t*>(q.values),
                                 const_cast<float*>(q.scales), const_cast<float*>(q.sums));
}

void TokenExecutor::quantize_residual(Slot which) {
  const kernels::QuantizedVector& q = quantized_[static_cast<size_t>(which)];
  const float* x = slot(which);
  const size_t k = machine_.model.width(which);
  for (size_t i = 0; i < k; ++i) {
    residual_floats_[i] = x[i] - q.scales[i / kernels::kGroup] * static_cast<float>(q.values[i]);
  }
  machine_.vector.token_quantize(residual_floats_, k, const_cast<int8_t*>(residual_.values),
                                 const_cast<float*>(residual_.scales), const_cast<float*>(residual_.sums));
}

void TokenExecutor::run_floats(const Step& step) {
  const kernels::VectorKernels& v = machine_.vector;
  for (const BoundOp& bound : step.ops) {
    const graph::Op& op = bound.op;
    float* in = slot(op.input);
    float* out = slot(op.output);
    const size_t width = machine_.model.width(op.input);
    switch (op.kind) {
      case OpKind::scale:
        v.scale(in, op.factor, width, out);
        break;
      case OpKind::norm_rms: {
        const size_t heads = std::max(1u, op.heads), each = width / heads;
        for (size_t h = 0; h < heads; ++h)
          v.token_norm_rms(in + h * each, bound.weight->data(), op.epsilon, each, out + h * each);
        break;
      }
      case OpKind::norm_layer:
        v.token_norm_layer(in, bound.weight->data(), bound.bias, op.epsilon, width, out);
        break;
      case OpKind::rope: {
        const size_t each = width / op.heads;
        for (size_t h = 0; h < op.heads; ++h) {
          v.token_rope(in + h * each, op.rope.dims, op.rope.neox, cosines_[bound.rope_table],
                       sines_[bound.rope_table]);
        }
        break;
      }
      case OpKind::gate:
        v.gate(unary(op.activation), in, slot(op.input2), width, out);
        break;
      case OpKind::activate:
        v.activate(unary(op.activation), in, width, out);
        break;
      case OpKind::add:
        v.add(in, slot(op.input2), width, out);
        break;
      case OpKind::softcap:
        v.softcap(in, op.factor, width, out);
        break;
      case OpKind::rotate: {
        if (out != in) std::memcpy(out, in, width * sizeof(float));
        const size_t block = op.block == 0 ? width : op.block;
        v.token_hadamard(out, block, width / block);
        break;
      }
      case OpKind::quantize:
        if (width % kernels::kGroup == 0) quantize(op.input);
        break;
      case OpKind::embed:
      case OpKind::linear:
      case OpKind::attention:
        break;  // steps of their own
    }
  }
}

void TokenExecutor::run_linears(const Step& step) {
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
  if (step.fine) quantize_residual(step.ops.front().op.input);
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Task& task = list[index];
    const Matrix& matrix = task.bound->matrix;
    float* out = slot(task.bound->op.output) + task.row;
    const kernels::QuantizedVector& x = quantized_[static_cast<size_t>(task.bound->op.input)];
    if (step.fine) {
      matrix.encoding->gemv_pair(matrix.row(task.row), matrix.row_bytes, task.rows, matrix.k, x, residual_,
                                 out);
    } else if (step.integer) {
      matrix.encoding->gemv(matrix.row(task.row), matrix.row_bytes, task.rows, matrix.k, x, out);
    } else {
      float* row = rows_[thread].data();
      for (size_t r = 0; r < task.rows; ++r) {
        matrix.encoding->dequantize(matrix.row(task.row + r), matrix.k, row);
        out[r] = machine_.vector.dot(row, slot(task.bound->op.input), matrix.k);
      }
    }
    if (task.bound->bias != nullptr) {
      machine_.vector.add(out, task.bound->bias + task.row, task.rows, out);
    }
  });
}

void TokenExecutor::run_attention(const Step& step, uint32_t position) {
  const graph::HyperParameters& p = machine_.model.parameters;
  const graph::Op& op = step.ops.front().op;
  const kernels::AttentionShape shape = attention_shape(p, op);
  const size_t n = shape.head_size, group = shape.group;
  float* keys = slot(Slot::key);
  const float* values = slot(Slot::value);
  const float* queries = slot(Slot::query);
  float* context = slot(Slot::context);
  const uint32_t end = position + 1;
  const uint32_t begin = op.window != 0 && end > op.window ? end - op.window : 0;
  if (machine_.means && !(*machine_.means)[step.layer].empty()) {
    const std::vector<float>& mean = (*machine_.means)[step.layer];
    for (size_t i = 0; i < mean.size(); ++i) keys[i] -= mean[i];
  }
  for (uint32_t head = 0; head < p.kv_heads; ++head) {
    const KvCache::Place k = machine_.cache.keys(step.layer, head, position);
    const KvCache::Place v = machine_.cache.values(step.layer, head, position);
    machine_.attention.store_row(machine_.cache.format(), keys + head * n, n, k.row, k.scale);
    machine_.attention.store_row(machine_.cache.format(), values + head * n, n, v.row, v.scale);
  }
  // Each task takes one kv head and one part of the positions, and leaves sums to be merged.
  const size_t parts = (end - begin + kPart - 1) / kPart;
  const size_t each = group * (n + 2 + kPart);
  attention_scratch_.resize(std::max(attention_scratch_.size(), p.kv_heads * parts * each));
  const auto part_of = [&](size_t head, size_t part) {
    return attention_scratch_.data() + (head * parts + part) * each;
  };
  machine_.pool.run(p.kv_heads * parts, [&](size_t, size_t index) {
    const uint32_t head = static_cast<uint32_t>(index / parts), part = static_cast<uint32_t>(index % parts);
    float* out = part_of(head, part);
    const uint32_t first = begin + part * static_cast<uint32_t>(kPart);
    machine_.attention.token(shape, machine_.cache.key_rows(step.layer, head),
                             machine_.cache.value_rows(step.layer, head), first,
                             std::min(end, first + static_cast<uint32_t>(kPart)), queries + head * group * n,
                             out, out + group * n, out + group * (n + 1), out + group * (n + 2));
  });
  for (size_t head = 0; head < p.kv_heads; ++head) {
    for (size_t q = 0; q < group; ++q) {
      float top = -INFINITY, total = 0;
      for (size_t part = 0; part < parts; ++part) top = std::max(top, part_of(head, part)[group * n + q]);
      float* out = context + (head * group + q) * n;
      std::fill_n(out, n, 0.0f);
      for (size_t part = 0; part < parts; ++part) {
        const float* from = part_of(head, part);
        const float weight = std::exp(from[group * n + q] - top);
        total += weight * from[group * (n + 1) + q];
        for (size_t d = 0; d < n; ++d) out[d] += weight * from[q * n + d];
      }
      machine_.vector.scale(out, 1 / total, n, out);
    }
  }
}

}  // namespace cairn::device::cpu
