#include "offload/simulated/phone.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cairn::offload::simulated {
namespace {

constexpr PhoneConstants kSnapdragon8Gen3 = {
    .name = "snapdragon-8gen3",
    .npu = "Hexagon NPU (simulated)",
    .cpu = "Cortex-X4 + 3 × A720 (simulated)",
    .phones = {"redmi-k70-pro", "xiaomi-14"},
    .launch = 0.5306e-3,
    .weight_rate = 19.97e9,
    .knee_tokens = 128,
    .activation_element = 2 * 3.0 / (128 * 4 * 650e6),
    .group = 32,
    .group_launch = 144e-6,
    .group_sum = 4 / 43.3e9,
    .environment = 0.1,
    .build_layer = 19.3e-3,
    .optimise_byte = 10.72e-9,
    .optimise_free = 0.906e9,
    .optimise_least_byte = 2.72e-9,
    .flop_rate = 0.5 * 512e9,
    .exp_rate = 4e9,
    .memory_rate = 43.3e9,
    .task = 0.3e-3,
    .merge = 0.9e-3,
    .decode_rate = 17.23e9,
    .half_flop_rate = 10e12,
    .half_weight_rate = 16.53e6,
    .vector_memory_rate = 26e9,
    .vector_exp_rate = 64 * 4 * 650e6 / 12,
    .base_watts = 1.95,
    .npu_watts = 3.03,
    .cpu_watts = 6.27,
    .cpu_alone_watts = 8.22,
};

// What a constant follows from phone to phone.
enum class Follows : uint8_t { nothing, memory, cpu };

struct Known {
  std::string_view name, unit;
  double PhoneConstants::*value;
  double unit_size;
  Origin origin;
  std::string_view source;
  Follows follows = Follows::nothing;
};

// [P] llm.npu (arXiv 2407.05858v2), its tables and figures; [HI] HeteroInfer (2501.14794), [TT] test-time
// compute on mobile NPUs (2509.23324), [TM] T-MAN (2511.11248): all three on a Snapdragon 8 Gen 3.
constexpr std::array kKnown = {
    Known{"launch", "ms", &PhoneConstants::launch, 1e-3, Origin::fitted,
          "least relative squares over [P] Table 3's six NPU INT8 latencies, within 19 % of each"},
    Known{"weight_rate", "GB/s", &PhoneConstants::weight_rate, 1e9, Origin::fitted,
          "the same fit: they follow the bytes of weights and hardly the rows", Follows::memory},
    Known{"knee_tokens", "rows", &PhoneConstants::knee_tokens, 1, Origin::chosen,
          "[P] Figure 8: latency a token falls until chunks of 256, where products take two thirds"},
    Known{"activation_element", "ps", &PhoneConstants::activation_element, 1e-12, Origin::derived,
          "3 instructions on 128 elements, 4 vector contexts at [P] 650 MHz; doubled for memory"},
    Known{"group_launch", "µs", &PhoneConstants::group_launch, 1e-6, Origin::fitted,
          "Table 3's shapes in groups of 32 are 9.4 times as slow on average ([P] Figure 4: 8.1–10.7)"},
    Known{"group_sum", "ps", &PhoneConstants::group_sum, 1e-12, Origin::derived,
          "a result in half precision out and in: 4 bytes at memory_rate", Follows::memory},
    Known{"environment", "ms", &PhoneConstants::environment, 1e-3, Origin::measured, "[P] Figure 2"},
    Known{"build_layer", "ms", &PhoneConstants::build_layer, 1e-3, Origin::fitted,
          "[P]: 450 ms for 24 layers, 360 ms for 18"},
    Known{"optimise_byte", "s/GB", &PhoneConstants::optimise_byte, 1e-9, Origin::fitted,
          "[P]: 3.30 s for 1.21 GB, 11.54 s for 1.98 GB: the line through both"},
    Known{"optimise_free", "GB", &PhoneConstants::optimise_free, 1e9, Origin::fitted, "the same line"},
    Known{"optimise_least_byte", "s/GB", &PhoneConstants::optimise_least_byte, 1e-9, Origin::derived,
          "in proportion to the smaller of the two"},
    Known{"flop_rate", "GFLOP/s", &PhoneConstants::flop_rate, 1e9, Origin::chosen,
          "half of the half-precision peak of four cores, so that max-C idles as little as [P] says",
          Follows::cpu},
    Known{"exp_rate", "G/s", &PhoneConstants::exp_rate, 1e9, Origin::derived,
          "12 half-precision instructions for 8 lanes, with loads and stores", Follows::cpu},
    Known{"memory_rate", "GB/s", &PhoneConstants::memory_rate, 1e9, Origin::measured,
          "[HI]: what one processor gets", Follows::memory},
    Known{"task", "ms", &PhoneConstants::task, 1e-3, Origin::chosen,
          "[HI]: synchronising two processors takes some 0.4 ms"},
    Known{"merge", "ms", &PhoneConstants::merge, 1e-3, Origin::chosen,
          "[P]: merging in all layers takes 29.7 % of the latency, 96 merges a chunk"},
    Known{"decode_rate", "GB/s", &PhoneConstants::decode_rate, 1e9, Origin::fitted,
          "geometric mean over [P] Table 5's Persona-Chat decoding, weights of 4.5 bits", Follows::memory},
    Known{"half_flop_rate", "TFLOP/s", &PhoneConstants::half_flop_rate, 1e12, Origin::measured,
          "[HI] reaches 10, [TT] 12, of 17"},
    Known{"half_weight_rate", "M/s", &PhoneConstants::half_weight_rate, 1e6, Origin::fitted,
          "geometric mean over [P] Table 3's NPU FP16, within 14 % of each", Follows::memory},
    Known{"vector_memory_rate", "GB/s", &PhoneConstants::vector_memory_rate, 1e9, Origin::measured,
          "[TT]: what the vector unit reads", Follows::memory},
    Known{"vector_exp_rate", "G/s", &PhoneConstants::vector_exp_rate, 1e9, Origin::derived,
          "12 half-precision instructions for 64 lanes, 4 vector contexts at 650 MHz"},
    Known{"base_watts", "W", &PhoneConstants::base_watts, 1, Origin::fitted,
          "[TM] Table 3: CPU alone 8.22 W, NPU alone 4.98 W, llm.npu 8.89 W with the share of time that "
          "each works in its simulation"},
    Known{"npu_watts", "W", &PhoneConstants::npu_watts, 1, Origin::fitted, "the same fit"},
    Known{"cpu_watts", "W", &PhoneConstants::cpu_watts, 1, Origin::fitted, "the same fit"},
    Known{"cpu_alone_watts", "W", &PhoneConstants::cpu_alone_watts, 1, Origin::measured,
          "[TM] Table 3: bitnet.cpp"},
};

// LPDDR5X of 8,400 against 8,533 MT/s; the half-precision peak of four cores: an X3 at 3.2 GHz with four
// 128-bit pipes and three of 2.8 GHz with two, against an X4 at 3.3 and three A720 at 3.15.
constexpr double kMemory = 8400.0 / 8533, kCpu = 473.6 / 513.6;

// Nothing in print tells how fast the older NPU's units are beside the younger one's. So what waits for
// memory follows memory, what computes on the CPU follows its clocks, and the rest is taken over.
constexpr PhoneConstants snapdragon_8gen2() {
  PhoneConstants phone = kSnapdragon8Gen3;
  phone.name = "snapdragon-8gen2";
  phone.cpu = "Cortex-X3 + 3 × A715/A710 (simulated)";
  phone.phones = {"redmi-k60-pro", ""};
  phone.cpu_alone_watts = 13.3;
  for (const Known& known : kKnown) {
    const bool time = known.value == &PhoneConstants::group_sum;  // the others are rates
    const double ratio = known.follows == Follows::memory ? kMemory
                         : known.follows == Follows::cpu  ? kCpu
                                                          : 1;
    phone.*known.value *= time ? 1 / ratio : ratio;
  }
  return phone;
}

constexpr std::array<PhoneConstants, 2> kPhones = {kSnapdragon8Gen3, snapdragon_8gen2()};

}  // namespace

std::span<const PhoneConstants> phones() {
  return kPhones;
}

const PhoneConstants* find_phone(std::string_view name) {
  if (name.empty()) return nullptr;
  for (const PhoneConstants& phone : kPhones)
    if (name == phone.name || std::find(phone.phones.begin(), phone.phones.end(), name) != phone.phones.end())
      return &phone;
  return nullptr;
}

std::string phone_names() {
  std::string names;
  for (const PhoneConstants& phone : kPhones) {
    names += fmt::format("{}{} (", names.empty() ? "" : ", ", phone.name);
    for (size_t i = 0; i < phone.phones.size() && !phone.phones[i].empty(); ++i)
      names += fmt::format("{}{}", i == 0 ? "" : ", ", phone.phones[i]);
    names += ")";
  }
  return names;
}

const char* name(Origin origin) {
  switch (origin) {
    case Origin::measured:
      return "measured";
    case Origin::fitted:
      return "fitted";
    case Origin::derived:
      return "derived";
    case Origin::chosen:
      return "chosen";
    case Origin::assumed:
      return "assumed";
  }
  return "";
}

std::vector<Constant> constants(const PhoneConstants& phone) {
  const bool original = phone.name == kSnapdragon8Gen3.name;
  std::vector<Constant> all;
  for (const Known& known : kKnown) {
    Constant constant{known.name, known.unit, phone.*known.value / known.unit_size, known.origin,
                      known.source};
    if (!original && known.value == &PhoneConstants::cpu_alone_watts) {
      constant.origin = Origin::fitted;
      constant.source =
          "[P]: llama.cpp's power over llm.npu's, energy by speed with 1,024 tokens, is 1.55 (1.44–1.67)";
    } else if (!original) {
      constant.origin = known.follows == Follows::nothing ? Origin::assumed : Origin::derived;
      constant.source =
          known.follows == Follows::memory ? "snapdragon-8gen3's × 0.984, as memory: LPDDR5X-8400"
          : known.follows == Follows::cpu  ? "snapdragon-8gen3's × 0.922, as the peaks of four cores"
                                           : "as snapdragon-8gen3's";
    }
    all.push_back(constant);
  }
  return all;
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
