#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/plan.hpp"
#include "kernels/vector.hpp"

namespace cairn::cpu {

// What 4-bit keys are stored without and get back when they are read: the bias of their projection as RoPE
// turns it (kernels::KvBias). Its mean over positions, which KeyMeans takes off, leaves an amplitude of 40 in
// pairs that turn within a text of the first layer of Qwen2.5-0.5B, where all else of a key is about 10: with
// 4 bits its perplexity was 12 % higher.
class KeyBiases {
 public:
  // positions: those that the angles are made for.
  KeyBiases(const graph::Model& model, const Plan& plan, uint32_t positions);

  bool has(uint32_t layer) const { return !layers_[layer].values.empty(); }
  kernels::KvBias of(uint32_t layer, uint32_t head) const;
  // … [kv head · head_size], not turned, and by which op; null: by none.
  const std::vector<float>& values(uint32_t layer) const { return layers_[layer].values; }
  const BoundOp* rope(uint32_t layer) const { return layers_[layer].rope; }

 private:
  struct Layer {
    std::vector<float> values{};
    const BoundOp* rope = nullptr;
  };
  struct Angles {
    std::vector<float> pages{}, within{};
  };
  size_t head_size_;
  std::vector<Layer> layers_;
  std::vector<Angles> angles_;  // by Plan::ropes
};

}  // namespace cairn::cpu
