#include "backends/cpu/key_means.hpp"

#include <algorithm>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

// Positions that the mean is taken over: as many as prompts usually have, in steps.
constexpr uint32_t kPositions = 2048, kStep = 32;

std::vector<float> mean_over_positions(const std::vector<float>& bias, const BoundOp& bound,
                                       const std::vector<float>* factors) {
  const graph::Rope& rope = bound.op.rope;
  const size_t pairs = rope.dims / 2, size = bias.size() / bound.op.heads;
  std::vector<float> cosines(pairs), sines(pairs);
  std::vector<double> c(pairs), s(pairs);
  for (uint32_t position = 0; position < kPositions; position += kStep) {
    rope_table(rope, factors, position, 1, cosines.data(), sines.data());
    for (size_t i = 0; i < pairs; ++i) {
      c[i] += static_cast<double>(cosines[i]) * kStep / kPositions;
      s[i] += static_cast<double>(sines[i]) * kStep / kPositions;
    }
  }
  std::vector<float> mean = bias;
  for (size_t head = 0; head < bound.op.heads; ++head) {
    for (size_t i = 0; i < pairs; ++i) {
      const size_t first = head * size + (rope.neox ? i : 2 * i), second = first + (rope.neox ? pairs : 1);
      const auto a = static_cast<double>(bias[first]), b = static_cast<double>(bias[second]);
      mean[first] = static_cast<float>(a * c[i] - b * s[i]);
      mean[second] = static_cast<float>(a * s[i] + b * c[i]);
    }
  }
  return mean;
}

}  // namespace

std::shared_ptr<const KeyMeans> key_means(const graph::Model& model, const Plan& plan, kernels::KvFormat kv) {
  if (kv != kernels::KvFormat::i8 || model.parameters.attention_softcap != 0) return nullptr;
  KeyMeans means(model.layers.size() + 1);  // the last for a layer that drafts
  bool any = false;
  for (const Step& step : plan.layers) {
    for (const BoundOp& bound : step.ops) {
      if (step.layer >= means.size()) continue;
      std::vector<float>& mean = means[step.layer];
      if (bound.op.output == graph::Slot::key && bound.op.kind == graph::OpKind::linear &&
          bound.bias != nullptr) {
        mean.assign(bound.bias, bound.bias + bound.op.rows);
      } else if (!mean.empty() && bound.op.input == graph::Slot::key &&
                 bound.op.kind == graph::OpKind::rope) {
        mean = mean_over_positions(mean, bound, plan.rope_factors[bound.rope_table]);
      } else if (bound.op.input == graph::Slot::key && bound.op.kind != graph::OpKind::attention) {
        mean.clear();  // a norm: the bias is no constant behind it
      }
      any |= !mean.empty();
    }
  }
  return any ? std::make_shared<const KeyMeans>(std::move(means)) : nullptr;
}

}  // namespace cairn::cpu
