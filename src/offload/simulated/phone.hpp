// simulated: what a phone's NPU and CPU would take for a subgraph, from published measurements. No clock of
// this machine is read: the same question always has the same answer.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace cairn::offload::simulated {

// One linear's weights: rows × k int8.
struct Product {
  uint32_t k, rows;
};

enum class WeightGroups : uint8_t {
  tensor,  // one scale a tensor or row: one product of the matrix unit
  groups,  // a scale for each group along k: a product a group, whose results the vector unit sums in float
};

// Times in seconds, rates a second. docs/schedule.md tells where each figure of a phone comes from.
struct PhoneConstants {
  std::string_view name, npu, cpu;
  // NPU: a subgraph takes launch + Σ k·rows·(1 + tokens / knee_tokens) / weight_rate.
  double launch;       // entering the driver and back, once a subgraph
  double weight_rate;  // int8 weights brought to the matrix unit
  double knee_tokens;  // rows of activations at which multiplying takes as long as bringing the weights
  double activation_element;  // one element of the gated activation, by table on the vector unit
  // NPU, products in groups: a sub-product's launch, and the sum of one of its results.
  uint32_t group;
  double group_launch, group_sum;
  // NPU, making graphs: a shape's first run pays for it.
  double environment;          // setting the runtime up
  double build_layer;          // building one layer's graphs
  double optimise_byte;        // optimising, for each byte of weights beyond optimise_free …
  double optimise_free;        // …
  double optimise_least_byte;  // but never less than this for each byte of all
  // CPU.
  double flop_rate;    // float products
  double exp_rate;     // exponentials of the softmax
  double memory_rate;  // element-wise work: bytes read and written
  double task;         // waking the threads and joining them, once a subgraph
  double merge;        // a shadow result's way to its product's: cache maintenance and waiting
};

// nullptr when unknown.
const PhoneConstants* find_phone(std::string_view name);

class Phone {
 public:
  explicit Phone(const PhoneConstants& constants) : c_(constants) {}
  const PhoneConstants& constants() const { return c_; }

  // One subgraph of products that share an input of `tokens` rows.
  double npu_products(uint32_t tokens, std::span<const Product> products, WeightGroups groups) const;
  double npu_activation(uint64_t elements) const;
  // The graphs of one shape, before their first run.
  double make_graphs(uint32_t layers, double weight_bytes) const;
  double cpu_task(double flops, double exponentials, double bytes) const;
  double cpu_merge() const { return c_.merge; }

 private:
  PhoneConstants c_;
};

}  // namespace cairn::offload::simulated
