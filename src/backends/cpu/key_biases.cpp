#include "backends/cpu/key_biases.hpp"

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

// [position][cosines, sines] of `count` positions, `step` apart.
std::vector<float> angles(const graph::Rope& rope, const std::vector<float>* factors, uint32_t count,
                          uint32_t step) {
  std::vector<float> table(size_t{count} * rope.dims);
  for (uint32_t i = 0; i < count; ++i) {
    float* row = table.data() + size_t{i} * rope.dims;
    rope_table(rope, factors, i * step, 1, row, row + rope.dims / 2);
  }
  return table;
}

}  // namespace

KeyBiases::KeyBiases(const graph::Model& model, const Plan& plan, uint32_t positions)
    : head_size_(model.parameters.head_size), layers_(model.layers.size() + 1), angles_(plan.ropes.size()) {
  for (const Step& step : plan.layers) {
    for (const BoundOp& bound : step.ops) {
      if (step.layer >= layers_.size()) continue;
      Layer& layer = layers_[step.layer];
      if (bound.op.output == graph::Slot::key && bound.op.kind == graph::OpKind::linear &&
          bound.bias != nullptr) {
        layer.values.assign(bound.bias, bound.bias + bound.op.rows);
      } else if (bound.op.input == graph::Slot::key && bound.op.kind == graph::OpKind::rope) {
        layer.rope = &bound;
      } else if (bound.op.input == graph::Slot::key && bound.op.kind != graph::OpKind::attention) {
        layer.values.clear();  // a norm: the bias is no constant behind it
      }
    }
  }
  for (const Layer& layer : layers_) {
    if (layer.values.empty() || layer.rope == nullptr) continue;
    const uint32_t index = layer.rope->rope_table;
    graph::Rope rope = plan.ropes[index];
    Angles& found = angles_[index];
    if (!found.within.empty()) continue;
    found.within = angles(rope, plan.rope_factors[index], kernels::kPagePositions, 1);
    rope.attention_factor = 1;  // once is enough
    found.pages = angles(rope, plan.rope_factors[index], positions / kernels::kPagePositions + 1,
                         kernels::kPagePositions);
  }
}

kernels::KvBias KeyBiases::of(uint32_t layer, uint32_t head) const {
  const Layer& found = layers_[layer];
  if (found.values.empty()) return {};
  kernels::KvBias bias{.values = found.values.data() + head * head_size_};
  if (found.rope == nullptr) return bias;
  const Angles& turned = angles_[found.rope->rope_table];
  bias.dims = found.rope->op.rope.dims;
  bias.neox = found.rope->op.rope.neox;
  bias.pages = turned.pages.data();
  bias.within = turned.within.data();
  return bias;
}

}  // namespace cairn::cpu
