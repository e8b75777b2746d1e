#include "backends/cpu/recurrent.hpp"

#include <algorithm>
#include <cmath>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {

DeltaScratch::DeltaScratch(size_t tokens, size_t rows, size_t size, size_t tile_tokens) {
  const size_t of_keys = tokens * round_up(rows, 16), padded = round_up(tokens, 16);
  const size_t columns = round_up(size, kernels::kDeltaColumns), of_values = tokens * columns;
  const size_t of_block = rows * kernels::kDeltaBlock, of_tile = kernels::scan_scratch(tile_tokens, columns);
  memory = Buffer((2 * of_keys + 3 * of_values + 2 * padded + of_block + of_tile) * sizeof(float));
  float* at = memory.as<float>();
  for (float** part : {&queries, &keys, &values, &out, &deltas}) {
    *part = at;
    at += part == &queries || part == &keys ? of_keys : of_values;
  }
  decays = at;
  steps = decays + padded;
  block = steps + padded;
  tile = block + of_block;
}

std::vector<DeltaScratch> delta_scratch(const Plan& plan, size_t tokens, size_t tile_tokens, size_t threads) {
  size_t keys = 0, size = 0;
  for (const Step& step : plan.layers) {
    for (const BoundOp& bound : step.ops) {
      const graph::Op& op = bound.op;
      if (op.kind != graph::OpKind::delta_rule && op.kind != graph::OpKind::selective_scan) continue;
      keys = std::max<size_t>(keys, op.kind == graph::OpKind::delta_rule ? op.block : op.state);
      size = std::max<size_t>(size, op.block);
    }
  }
  std::vector<DeltaScratch> scratch;
  for (size_t i = 0; i < threads && size > 0; ++i) scratch.emplace_back(tokens, keys, size, tile_tokens);
  return scratch;
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
