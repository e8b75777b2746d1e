#include "offload/simulated/phone.hpp"

#include <algorithm>

namespace cairn::offload::simulated {
namespace {

// Sources: [T3] llm.npu's Table 3 (MatMul latencies on a Redmi K70 Pro), [§2] its section on graph
// preparation, [§3] on chunks, outliers and per-group products; [HI] HeteroInfer (arXiv 2501.14794), measured
// on the same chip.
constexpr PhoneConstants kSnapdragon8Gen3 = {
    .name = "snapdragon-8gen3",
    .npu = "Hexagon NPU (simulated)",
    .cpu = "Cortex-X4 + 3 × A720 (simulated)",
    // Least relative squares over [T3]'s six NPU INT8 latencies, given the knee: within 19 % of each. Latency
    // there follows the bytes of weights and hardly the rows (64 rows take no longer than 32 for equal
    // bytes).
    .launch = 0.5306e-3,
    .weight_rate = 19.97e9,
    // [§3] finds latency a token falling until chunks of 256 and not much beyond: there, products must take
    // the larger part. With 128 it is two thirds.
    .knee_tokens = 128,
    // A table look-up and a product of int8: 3 instructions on 128 elements, 4 vector contexts at 650 MHz
    // ([§2]: 500–750 MHz), and as long again for bringing the elements.
    .activation_element = 2 * 3.0 / (128 * 4 * 650e6),
    // K-Quants' groups of 32. A group's result in half precision leaves the matrix unit's memory and comes
    // back for the sum: 4 bytes at [HI]'s rate. The launch is such that [T3]'s six shapes are 9.4 times as
    // slow on average; [§3] says 8.1–10.7 times.
    .group = 32,
    .group_launch = 144e-6,
    .group_sum = 4 / 43.3e9,
    // [§2]: 100 ms; 450 ms for 24 layers, 360 ms for 18; 3.30 s for 1.21 GB of weights, 11.54 s for 1.98 GB:
    // the line through both, and below it in proportion to the smaller.
    .environment = 0.1,
    .build_layer = 19.3e-3,
    .optimise_byte = 10.72e-9,
    .optimise_free = 0.906e9,
    .optimise_least_byte = 2.72e-9,
    // One X4 at 3.3 GHz with four, three A720 at 3.15 GHz with two 128-bit pipes: 512 GFLOP/s in half
    // precision; of which half ([T3]'s CPU INT8 figures reach 31 % of the int8 peak with far smaller
    // products).
    .flop_rate = 0.5 * 512e9,
    .exp_rate = 4e9,        // 12 half-precision instructions for 8 lanes, with loads and stores
    .memory_rate = 43.3e9,  // [HI]: what one processor gets
    .task = 0.3e-3,         // [HI]: synchronising two processors costs some 0.4 ms where it isn't hidden
    // [§3]: merging in all layers takes 29.7 % of the latency, 96 merges a chunk.
    .merge = 0.9e-3,
};

}  // namespace

const PhoneConstants* find_phone(std::string_view name) {
  return name == kSnapdragon8Gen3.name ? &kSnapdragon8Gen3 : nullptr;
}

double Phone::npu_products(uint32_t tokens, std::span<const Product> products, WeightGroups groups) const {
  double seconds = c_.launch;
  for (const Product& p : products) {
    seconds += double(p.k) * p.rows * (1 + tokens / c_.knee_tokens) / c_.weight_rate;
    if (groups == WeightGroups::tensor) continue;
    const uint32_t pieces = (p.k + c_.group - 1) / c_.group;
    seconds += pieces * (c_.group_launch + double(tokens) * p.rows * c_.group_sum);
  }
  return seconds;
}

double Phone::npu_activation(uint64_t elements) const {
  return static_cast<double>(elements) * c_.activation_element;
}

double Phone::make_graphs(uint32_t layers, double weight_bytes) const {
  const double optimise =
      std::max(c_.optimise_byte * (weight_bytes - c_.optimise_free), c_.optimise_least_byte * weight_bytes);
  return c_.environment + c_.build_layer * layers + optimise;
}

double Phone::cpu_task(double flops, double exponentials, double bytes) const {
  return c_.task + flops / c_.flop_rate + exponentials / c_.exp_rate + bytes / c_.memory_rate;
}

}  // namespace cairn::offload::simulated
