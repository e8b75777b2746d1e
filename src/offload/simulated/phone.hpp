// simulated: what a phone's NPU and CPU would take for a subgraph, from published measurements. No clock of
// this machine is read: the same question always has the same answer.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::offload::simulated {

// One linear's weights: rows × k int8.
struct Product {
  uint32_t k, rows;
};

enum class WeightGroups : uint8_t {
  tensor,  // one scale a tensor or row: one product of the matrix unit
  groups,  // a scale for each group along k: a product a group, whose results the vector unit sums in float
};

// Times in seconds, rates a second, powers in watts. constants() tells where each figure comes from.
struct PhoneConstants {
  std::string_view name, npu, cpu;
  std::array<std::string_view, 2> phones;  // with that chip, as papers name them; other names for it here
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
  double decode_rate;  // bytes of weights read while decoding
  // NPU, float work, where whole layers run there.
  double half_flop_rate;      // half-precision products on the matrix unit
  double half_weight_rate;    // the same through a runtime that has no matrix unit for them: weights a second
  double vector_memory_rate;  // element-wise work: bytes read and written
  double vector_exp_rate;     // exponentials of the softmax
  // Power: the rest of the phone for as long as it lasts, each processor for as long as it works.
  double base_watts, npu_watts, cpu_watts;
  double cpu_alone_watts;  // the whole phone while an engine has the CPU to itself, all cores
};

std::span<const PhoneConstants> phones();
// By the chip's name or a phone's; nullptr when unknown.
const PhoneConstants* find_phone(std::string_view name);
// "snapdragon-8gen3 (redmi-k70-pro, xiaomi-14), …": what errors and help list.
std::string phone_names();

// How a constant came to be known.
enum class Origin : uint8_t {
  measured,  // by others, taken as it is
  fitted,    // to what others measured, by least squares or exactly
  derived,   // from data sheets or measurements, by a calculation that the source names
  chosen,    // within what is known of it, so that a figure of the paper comes out
  assumed,   // nothing is known of this phone
};
const char* name(Origin origin);

struct Constant {
  std::string_view name, unit;
  double value;  // in that unit
  Origin origin;
  std::string_view source;
};
// Every figure of a phone, in its struct's order.
std::vector<Constant> constants(const PhoneConstants& phone);

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
  // A token's decoding on the CPU, which reads so many bytes of weights.
  double decode(double weight_bytes) const { return weight_bytes / c_.decode_rate; }
  // Joules of a run that lasts so long and keeps the processors busy for so long of it (seconds).
  double joules(double seconds, double npu_busy, double cpu_busy) const {
    return c_.base_watts * seconds + c_.npu_watts * npu_busy + c_.cpu_watts * cpu_busy;
  }

 private:
  PhoneConstants c_;
};

}  // namespace cairn::offload::simulated
