#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kAlign = 16;  // floats: a cache line

size_t padded(size_t n) {
  return (n + kAlign - 1) / kAlign * kAlign;
}

// Floats of a quantised vector: int8 values (with room for a whole vector beyond the end), scales, sums.
size_t quantized_floats(size_t k) {
  return padded(k / 4 + kAlign) + 2 * padded(k / kernels::kGroup + 1);
}
kernels::QuantizedVector quantized_vector(float* values, size_t k) {
  float* scales = values + padded(k / 4 + kAlign);
  return {reinterpret_cast<int8_t*>(values), scales, scales + padded(k / kernels::kGroup + 1)};
}

}  // namespace

RowExecutor::RowExecutor(const Machine& machine) : machine_(machine) {
  // The caller owns the logits; nothing reads token ids from a slot.
  const auto width_of = [&](size_t i) {
    const Slot slot = static_cast<Slot>(i);
    return slot == Slot::logits || slot == Slot::tokens ? 0 : machine.model.width(slot);
  };
  size_t floats = 0;
  std::array<size_t, kSlots> quantized_at{};
  for (size_t i = 0; i < kSlots; ++i) {
    at_[i] = floats;
    quantized_at[i] = floats += padded(width_of(i));
    if (!is_expert(static_cast<Slot>(i))) floats += quantized_floats(width_of(i));
  }
  const graph::HyperParameters& p = machine.model.parameters;
  const size_t experts_at = floats;
  floats += p.experts_used * quantized_floats(p.expert_ffn);
  const size_t width = machine.model.width(Slot::normed), residual_at = floats;
  floats += quantized_floats(width);
  const size_t ropes_at = floats;
  for (const graph::Rope& rope : machine.plan.ropes) floats += 2 * padded(rope.dims / 2);
  row_bytes_ = floats * sizeof(float);
  memory_ = Buffer(kMostRows * row_bytes_);
  for (size_t row = 0; row < kMostRows; ++row) {
    float* base = slots_[row] = memory_.as<float>() + row * floats;
    for (size_t i = 0; i < kSlots; ++i)
      quantized_[row][i] = quantized_vector(base + quantized_at[i], width_of(i));
    residual_[row] = quantized_vector(base + residual_at, width);
    experts_[row].resize(p.experts_used);
    for (size_t j = 0; j < p.experts_used; ++j) {
      expert_input_[row].push_back(
          quantized_vector(base + experts_at + j * quantized_floats(p.expert_ffn), p.expert_ffn));
    }
    float* table = base + ropes_at;
    for (const graph::Rope& rope : machine.plan.ropes) {
      cosines_[row].push_back(table);
      sines_[row].push_back(table + padded(rope.dims / 2));
      table += 2 * padded(rope.dims / 2);
    }
    planes_[row] = PlanesInput(machine.plan);
  }
  size_t widest = 0, prepared = 0;  // a row of float products, bytes of integer ones' inputs
  size_t most_head = 0;
  const Plan& plan = machine.plan;
  for (const std::vector<Step>* steps :
       {&plan.layers, &plan.head, &plan.draft_keys, &plan.draft_rest, &plan.draft_head}) {
    for (const Step& step : *steps) {
      if (step.kind == StepKind::heads) most_head = std::max(most_head, step.ops.front().matrix.k);
      if (step.kind != StepKind::linears && step.kind != StepKind::experts && step.kind != StepKind::heads)
        continue;
      if (!step.integer) {
        widest = std::max(widest, step.ops.front().matrix.k);
        continue;
      }
      for (const BoundOp& bound : step.ops) {
        const Matrix& matrix = bound.matrix;
        prepared = std::max(prepared, matrix.encoding->prepared_bytes(matrix.k, kMostRows, step.fine));
      }
    }
  }
  prepared_.resize(machine.pool.threads());
  for (Prepared& own : prepared_) own.memory = Buffer(prepared);
  if (most_head != 0) {
    const size_t each = quantized_floats(most_head);
    head_memory_ = Buffer(machine.pool.threads() * kMostRows * each * sizeof(float));
    head_input_.resize(machine.pool.threads());
    float* at = head_memory_.as<float>();
    for (auto& inputs : head_input_) {
      for (kernels::QuantizedVector& input : inputs)
        input = quantized_vector(std::exchange(at, at + each), most_head);
    }
  }
  dequantized_.assign(machine.pool.threads(), std::vector<float>(widest));
  delta_ = delta_scratch(machine.plan, kMostRows, 0, machine.pool.threads());
}

void RowExecutor::begin(std::span<const Row> rows) {
  count_ = rows.size();
  for (size_t i = 0; i < count_; ++i) {
    rows_[i] = rows[i];
    active_[i] = i;
  }
}

void RowExecutor::embed(std::span<const BoundOp> ops, size_t row) {
  for (size_t i = 0; i < machine_.plan.ropes.size(); ++i) {
    rope_table(machine_.plan.ropes[i], machine_.plan.rope_factors[i], rows_[row].position, 1,
               cosines_[row][i], sines_[row][i]);
  }
  for (const BoundOp& bound : ops) {
    if (bound.matrix.encoding == nullptr) {
      run_float_op(bound, row);
      continue;
    }
    const bool adds = bound.op.kind != OpKind::embed;
    std::vector<float> more(adds ? bound.matrix.k : 0);
    float* out = slot(bound.op.output, row);
    read_row(machine_.plan, machine_.planes, bound.matrix,
             row_of(bound.op, rows_[row].token, rows_[row].position), planes_[row].scratch,
             adds ? more.data() : out);
    if (adds) machine_.vector.add(out, more.data(), more.size(), out);
  }
}

void RowExecutor::run(std::span<const Row> rows, bool draft) {
  draft_ = draft;
  begin(rows);
  each_row([&](size_t row) { embed(machine_.plan.embed, row); });
  run_steps(machine_.plan.layers);
  run_heads(machine_.plan.head, rows.size());
}

void RowExecutor::run_draft(std::span<const Row> rows, std::span<const float* const> before, bool guess) {
  draft_ = false;
  begin(rows);
  const Plan& plan = machine_.plan;
  each_row([&](size_t row) {
    embed(plan.draft_embed, row);
    std::copy_n(before[row], machine_.model.width(Slot::draft_hidden), slot(Slot::draft_hidden, row));
  });
  run_steps(plan.draft_keys);
  if (guess) {
    run_steps(plan.draft_rest);
    return run_heads(plan.draft_head, rows.size());
  }
  for (const Step& step : plan.draft_rest) {
    if (step.kind != StepKind::attention) continue;
    for (size_t i = 0; i < count_; ++i) store_keys(step, active_[i]);
  }
}

// Its first steps make what it multiplies.
void RowExecutor::run_heads(std::span<const Step> steps, size_t rows) {
  const auto products = static_cast<size_t>(
      std::find_if(steps.begin(), steps.end(), [](const Step& s) { return s.kind == StepKind::linears; }) -
      steps.begin());
  const auto activate = [&](const auto& wanted) {
    count_ = 0;
    for (size_t i = 0; i < rows; ++i) {
      if (wanted(rows_[i])) active_[count_++] = i;
    }
    return count_ > 0;
  };
  head_rows_ = 0;
  for (size_t i = 0; i < rows; ++i) {
    if (rows_[i].logits != nullptr) head_rows_ = std::max(head_rows_, rows_[i].enough);
  }
  if (!activate([](const Row& row) { return row.logits != nullptr || row.hidden != nullptr; })) return;
  run_steps(steps.first(products));
  const size_t width = machine_.model.width(Slot::normed);
  for (size_t i = 0; i < rows; ++i) {
    if (rows_[i].hidden != nullptr) std::copy_n(slot(Slot::normed, i), width, rows_[i].hidden);
  }
  if (activate([](const Row& row) { return row.logits != nullptr; })) run_steps(steps.subspan(products));
}

void RowExecutor::run_head(float* logits) {
  draft_ = false;
  rows_[0].logits = logits;
  head_rows_ = machine_.model.parameters.vocabulary;
  active_[0] = 0;
  count_ = 1;
  run_steps(machine_.plan.head);
}

void RowExecutor::run_steps(std::span<const Step> steps) {
  for (const Step& step : steps) {
    if (machine_.plan.set != nullptr) machine_.plan.set->boundary();
    switch (step.kind) {
      case StepKind::floats:
        run_floats(step);
        break;
      case StepKind::linears:
        step.planes ? run_planes(step) : run_linears(step);
        break;
      case StepKind::experts:
        run_experts(step);
        break;
      case StepKind::heads:
        run_head_products(step);
        break;
      case StepKind::attention:
        run_attention(step);
        break;
      case StepKind::recurrent:
        run_recurrent(step);
        break;
    }
  }
}

void RowExecutor::quantize(Slot which, size_t row, size_t width) {
  const kernels::QuantizedVector& q = quantized_[row][index_of(which)];
  machine_.vector.token_quantize(slot(which, row), width, const_cast<int8_t*>(q.values),
                                 const_cast<float*>(q.scales), const_cast<float*>(q.sums));
}

void RowExecutor::quantize_residual(Slot which, size_t row) {
  const kernels::QuantizedVector &q = quantized_[row][index_of(which)], &rest = residual_[row];
  const float* x = slot(which, row);
  auto* values = const_cast<int8_t*>(rest.values);
  for (size_t group = 0; group < machine_.model.width(which) / kernels::kGroup; ++group) {
    const float scale = q.scales[group], step = scale / kernels::kFineSteps;
    const float inverse = step > 1e-30F ? 1 / step : 0;
    int sum = 0;
    for (size_t i = group * kernels::kGroup; i < (group + 1) * kernels::kGroup; ++i) {
      const float left = (x[i] - scale * static_cast<float>(q.values[i])) * inverse;
      values[i] = static_cast<int8_t>(std::lrint(std::max(-127.0F, std::min(127.0F, left))));  // 127 for NaN
      sum += values[i];
    }
    const_cast<float*>(rest.scales)[group] = step;
    const_cast<float*>(rest.sums)[group] = step * static_cast<float>(sum);
  }
}

void RowExecutor::run_floats(const Step& step) {
  each_row([&](size_t row) {
    for (const BoundOp& bound : step.ops) run_float_op(bound, row);
  });
  if (step.ops.front().op.kind == OpKind::route) check_routes(step);
}

void RowExecutor::run_float_op(const BoundOp& bound, size_t row) {
  const kernels::VectorKernels& v = machine_.vector;
  const graph::Op& op = bound.op;
  float* in = output(op.input, row);
  float* out = output(op.output, row);
  const size_t width = op.width != 0 ? op.width : machine_.model.width(op.input);
  switch (op.kind) {
    case OpKind::scale:
      v.scale(in, op.factor, width, out);
      break;
    case OpKind::norm_rms: {
      const size_t heads = std::max(1u, op.heads), each = width / heads;
      for (size_t h = 0; h < heads; ++h) {
        v.token_norm_rms(in + h * each, bound.weight->data() + (op.own ? h * each : 0), op.epsilon, each,
                         out + h * each);
      }
      break;
    }
    case OpKind::norm_layer:
      v.token_norm_layer(in, bound.weight->data(), bound.bias, op.epsilon, width, out);
      break;
    case OpKind::rope: {
      const size_t each = width / op.heads;
      for (size_t h = 0; h < op.heads; ++h) {
        v.token_rope(in + h * each + op.offset, op.rope.dims, op.rope.neox, cosines_[row][bound.rope_table],
                     sines_[row][bound.rope_table]);
      }
      break;
    }
    case OpKind::gate:
      v.gate(unary(op.activation), in, slot(op.input2, row) + op.offset, width, out);
      break;
    case OpKind::weigh:
      v.scale(slot(op.input2, row), sigmoid(in[0]), machine_.model.width(op.output), out);
      break;
    case OpKind::join:
      std::copy_n(in, width, out);
      std::copy_n(slot(op.input2, row), width, out + width);
      break;
    case OpKind::part: {
      const size_t each = width / op.heads / 2;
      for (size_t h = 0; h < op.heads; ++h)
        std::copy_n(in + (2 * h + op.row_begin) * each, each, out + h * each);
      break;
    }
    case OpKind::activate:
      v.activate(unary(op.activation), in, width, out);
      break;
    case OpKind::add:
      v.add(in, slot(op.input2, row), width, out);
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
    case OpKind::route:
      route(bound, row);
      break;
    case OpKind::combine:
      combine(bound, row);
      break;
    case OpKind::quantize:
      if (is_expert(op.input)) {
        if (machine_.model.parameters.expert_ffn % kernels::kGroup == 0) quantize_experts(op.input, row);
        break;
      }
      if (width % kernels::kGroup == 0) quantize(op.input, row, width);
      break;
    case OpKind::embed:
    case OpKind::add_position:
    case OpKind::add_row:
    case OpKind::linear:
    case OpKind::expert_linear:
    case OpKind::head_linear:
    case OpKind::attention:
    case OpKind::convolve:
    case OpKind::delta_rule:
    case OpKind::selective_scan:
      break;  // steps of their own
  }
}

}  // namespace cairn::cpu
