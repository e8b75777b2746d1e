#include "backends/cpu/executor.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.hpp"

namespace cairn::cpu {

kernels::Unary unary(graph::Activation activation) {
  switch (activation) {
    case graph::Activation::none:
      break;
    case graph::Activation::silu:
      return kernels::Unary::silu;
    case graph::Activation::gelu_tanh:
      return kernels::Unary::gelu_tanh;
    case graph::Activation::gelu_erf:
      return kernels::Unary::gelu_erf;
    case graph::Activation::silu_clamped:
      return kernels::Unary::silu_clamped;
    case graph::Activation::sigmoid:
      return kernels::Unary::sigmoid;
    case graph::Activation::relu_squared:
      return kernels::Unary::relu_squared;
  }
  return kernels::Unary::none;
}

Row row_of(const engine::Slice& slice, PagedSequence& sequence, size_t at,
           const graph::HyperParameters& model, float* hidden) {
  const bool last = slice.wanted == engine::Logits::last && at + 1 == slice.tokens.size();
  return {&sequence,
          sequence.length() + static_cast<uint32_t>(at),
          slice.tokens[at],
          slice.wanted == engine::Logits::all ? slice.logits + at * model.vocabulary
          : last                              ? slice.logits
                                              : nullptr,
          slice.enough == 0 ? SIZE_MAX : slice.enough,
          hidden == nullptr ? nullptr : hidden + at * model.embedding};
}

uint32_t kv_heads_of(const graph::HyperParameters& parameters, const graph::Op& op) {
  return op.kv_heads != 0 ? op.kv_heads : parameters.kv_heads;
}

kernels::AttentionShape attention_shape(const graph::HyperParameters& parameters, const graph::Op& op) {
  const size_t head_size = op.head_size != 0 ? op.head_size : parameters.head_size;
  return {head_size, parameters.heads / kv_heads_of(parameters, op), op.factor, op.softcap, op.window};
}

void rope_table(const graph::Rope& rope, const std::vector<float>* factors, uint32_t position, size_t stride,
                float* cosines, float* sines) {
  const double scaled = static_cast<double>(position) * rope.frequency_scale;
  const double step = std::pow(static_cast<double>(rope.base), -2.0 / rope.dims);
  const double ramp = std::max(1e-3, static_cast<double>(rope.ramp_end) - rope.ramp_begin);
  float size = rope.attention_factor;
  if (rope.temperature != 0) {
    const uint32_t passed = position / rope.temperature_length;
    size *= static_cast<float>(1 + rope.temperature * std::log1p(static_cast<double>(passed)));
  }
  double frequency = 1;
  for (uint32_t i = 0; i < rope.dims / 2; ++i, frequency *= step) {
    double at = scaled;
    if (rope.yarn != 0) {
      const double kept = rope.yarn * (1 - std::clamp((i - rope.ramp_begin) / ramp, 0.0, 1.0));
      at += (position - scaled) * kept;
    }
    const double angle = at * frequency / (factors == nullptr ? 1.0 : (*factors)[i]);
    cosines[i * stride] = static_cast<float>(std::cos(angle)) * size;
    sines[i * stride] = static_cast<float>(std::sin(angle)) * size;
  }
}

kernels::KvRows Machine::keys(const PagedSequence& sequence, uint32_t layer, uint32_t head) const {
  kernels::KvRows rows = sequence.keys(layer, head);
  if (biases) rows.bias = biases->of(layer, head);
  return rows;
}

// --precision f32 is what other modes are measured against: its cache rounds nothing either, unless it was
// asked for.
kernels::KvFormat kv_format(const engine::Options& options) {
  switch (options.kv) {
    case engine::KvType::i8:
      return kernels::KvFormat::i8;
    case engine::KvType::q4:
      return kernels::KvFormat::q4;
    case engine::KvType::f16:
      break;
  }
  return options.precision == engine::Precision::f32 ? kernels::KvFormat::f32 : kernels::KvFormat::f16;
}

void rotate_heads(decltype(kernels::VectorKernels::token_hadamard) hadamard, float* x, size_t head_size,
                  size_t heads, size_t width) {
  if (std::has_single_bit(head_size)) return hadamard(x, head_size, heads);
  for (size_t head = 0; head < heads; ++head, x += head_size * width) {
    for (size_t at = 0; at < head_size;) {
      const size_t block = std::bit_floor(head_size - at);
      hadamard(x + at * width, block, 1);
      at += block;
    }
  }
}

void fail_route(const Plan& plan, uint32_t layer, uint32_t position) {
  fail(ErrorCode::numeric,
       "{}: layer {}: the scores of the experts for the token at position {} are no numbers", plan.path(),
       layer, position);
}

size_t most_attention_floats(const Plan& plan, const graph::HyperParameters& parameters,
                             const kernels::AttentionKernels& kernels) {
  size_t most = 0;
  for (const Step& step : plan.layers) {
    if (step.kind != StepKind::attention) continue;
    const kernels::AttentionShape shape = attention_shape(parameters, step.ops.front().op);
    most = std::max(most, kernels.tiles_scratch(shape, query_tiles(shape)));
  }
  return most;
}

bool uses(const Plan& plan, graph::Slot slot) {
  for (const Step& step : plan.layers) {
    for (const BoundOp& bound : step.ops) {
      if (bound.op.output == slot || bound.op.input == slot) return true;
    }
  }
  return false;
}

uint32_t row_of(const graph::Op& op, int32_t token, uint32_t position) {
  if (op.kind == graph::OpKind::add_position) return position;
  return op.kind == graph::OpKind::add_row ? op.row_begin : static_cast<uint32_t>(token);
}

size_t query_tiles(const kernels::AttentionShape& shape) {
  return std::clamp<size_t>(6 / shape.group, 1, kernels::kMostQueryTiles);
}

}  // namespace cairn::cpu
