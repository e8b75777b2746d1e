#include "backends/cpu/executor.hpp"

#include <algorithm>
#include <cmath>

namespace cairn::cpu {

kernels::Unary unary(graph::Activation activation) {
  switch (activation) {
    case graph::Activation::gelu_tanh:
      return kernels::Unary::gelu_tanh;
    case graph::Activation::gelu_erf:
      return kernels::Unary::gelu_erf;
    default:
      return kernels::Unary::silu;
  }
}

kernels::AttentionShape attention_shape(const graph::HyperParameters& parameters, const graph::Op& op) {
  return {parameters.head_size, parameters.heads / parameters.kv_heads, op.factor, op.softcap, op.window};
}

void rope_table(const graph::Rope& rope, const std::vector<float>* factors, uint32_t position, size_t stride,
                float* cosines, float* sines) {
  const double scaled = static_cast<double>(position) * rope.frequency_scale;
  const double step = std::pow(static_cast<double>(rope.base), -2.0 / rope.dims);
  double frequency = 1;
  for (uint32_t i = 0; i < rope.dims / 2; ++i, frequency *= step) {
    const double angle = scaled * frequency / (factors == nullptr ? 1.0 : (*factors)[i]);
    cosines[i * stride] = static_cast<float>(std::cos(angle)) * rope.attention_factor;
    sines[i * stride] = static_cast<float>(std::sin(angle)) * rope.attention_factor;
  }
}

bool uses(const Plan& plan, graph::Slot slot) {
  for (const Step& step : plan.layers) {
    for (const BoundOp& bound : step.ops) {
      if (bound.op.output == slot || bound.op.input == slot) return true;
    }
  }
  return false;
}

size_t query_tiles(const kernels::AttentionShape& shape) {
  return std::clamp<size_t>(6 / shape.group, 1, kernels::kMostQueryTiles);
}

}  // namespace cairn::cpu
