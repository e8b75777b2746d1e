#include "backends/cpu/recurrent.hpp"

#include <algorithm>
#include <cmath>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {

DeltaScratch::DeltaScratch(size_t tokens, size_t size) {
  const size_t columns = round_up(size, kernels::kDeltaColumns), all = tokens * columns;
  const size_t padded = round_up(tokens, 16);
  memory = Buffer((5 * all + 2 * padded + size * kernels::kDeltaBlock) * sizeof(float));
  float* at = memory.as<float>();
  for (float** part : {&queries, &keys, &values, &out, &deltas}) {
    *part = at;
    at += all;
  }
  decays = at;
  steps = decays + padded;
  block = steps + padded;
}

size_t largest_delta(const Plan& plan) {
  size_t most = 0;
  for (const Step& step : plan.layers) {
    for (const BoundOp& bound : step.ops)
      if (bound.op.kind == graph::OpKind::delta_rule) most = std::max<size_t>(most, bound.op.block);
  }
  return most;
}

void normalise(const Machine& machine, const graph::Op& op, float* query, float* key) {
  const size_t n = op.block;
  const auto unit = [&](float* x, float size) {
    machine.vector.scale(x, size / std::sqrt(machine.vector.dot(x, x, n) + op.epsilon), n, x);
  };
  unit(query, 1 / std::sqrt(static_cast<float>(n)));
  unit(key, 1);
}

float decay(const BoundOp& bound, size_t head, float alpha) {
  const float x = alpha + bound.bias[head];
  const float softplus = x > 20 ? x : std::log1p(std::exp(x));
  return std::exp((*bound.weight)[head] * softplus);
}

float sigmoid(float x) {
  return 1 / (1 + std::exp(-x));
}

const float* input_before(const StateView& state, const ConvPart& part, uint32_t length, size_t back) {
  const size_t behind = length - state.position(part.number);
  if (back <= behind) return state.journal(part) + (behind - back) * part.channels;
  return state.window(part) + (part.kept + behind - back) * part.channels;
}

}  // namespace cairn::cpu
