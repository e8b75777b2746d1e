#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "offload/chunk_run.hpp"

namespace cairn::offload {

// A model's layers as prefill runs them: float steps between the products of four linear inputs.
struct LayerPlan {
  std::vector<cpu::Step> attention_input, attention, ffn_input, ffn_middle;  // floats and attention
  std::array<cpu::Step, quantize::kInputs> products;                         // linears
};

// Error unsupported: a graph whose subgraphs are not as graph.hpp describes them.
std::vector<LayerPlan> plan_layers(cpu::Plan& plan, const graph::Model& model);

// What a device of a stack that compiles its weights in takes of it.
struct StackCopy {
  size_t blocks = 0;  // the file's first so many
  std::function<void(const std::string&)> notice{};
};

// The model's products under a scheme. Borrows plan and layers.
class Products {
 public:
  // plan: that of the layers. Of a stack, `copy` is what devices get that do not take weights anew.
  Products(const cpu::Plan& plan, const std::vector<LayerPlan>& layers, const quantize::Scheme& scheme,
           const kernels::StaticKernels& kernels, StackCopy copy = {});

  Product& at(uint32_t layer, quantize::Input input) {
    return *all_[layer * quantize::kInputs + static_cast<size_t>(input)];
  }
  // The product as accelerators take it, `moving` as their traits say. Borrows the weights.
  Int8Graph graph(uint32_t layer, quantize::Input input, uint32_t tokens, bool moving);
  // The product compiled for `tokens`, on first use.
  AcceleratorGraph& compiled(uint32_t layer, quantize::Input input, uint32_t tokens,
                             Accelerator& accelerator);
  // The device refuses it: its product is the CPU's, in float.
  void leave_to_cpu(uint32_t layer, quantize::Input input);
  void forget_compiled();                                                  // another accelerator takes over
  bool has(uint32_t layer, quantize::Input input, uint32_t tokens) const;  // compiled
  // Of all int8 values and scales that are not compiled for `tokens`: what a copy will take more, at least.
  uint64_t int8_bytes(uint32_t tokens) const;
  uint32_t graphs() const { return graphs_; }
  uint64_t hot_bytes() const;

 private:
  const cpu::Plan& plan_;
  quantize::Scheme scheme_;
  uint64_t fingerprint_;  // of the scheme as it was given
  StackCopy copy_;
  std::map<uint32_t, quantize::Rotation> rotations_;  // by width
  std::vector<std::unique_ptr<Product>> all_;
  uint32_t graphs_ = 0;
};

}  // namespace cairn::offload
