// What llm.npu's paper (arXiv 2407.05858v2, ASPLOS '25) and those who measured it say in numbers: what the
// simulated phone is compared with. The bars of its Figures 14 and 15 (speed at 64, 256 and 1,024 tokens on
// both phones, joules) carry no numbers that a reader could copy; of those there are the ranges of ratios in
// its text.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace cairn::measure {

// The paper's models by the names of graph::find_shape, in its order.
inline constexpr std::array<std::string_view, 5> kPaperModels = {"qwen1.5-1.8b", "gemma-2b", "phi-2",
                                                                 "llama-2-7b", "mistral-7b"};

// Prefill of llm.npu on a phone's chip, tokens a second.
struct PublishedSpeed {
  std::string_view phone, model;
  uint32_t prompt;
  double tok_s;
  std::string_view source;
};
std::span<const PublishedSpeed> published_speeds();

// Table 5: end-to-end tasks on a Redmi K70 Pro. Lengths in tokens, from the shortest to the longest.
struct PublishedTask {
  std::string_view name;
  uint32_t prompt_least, prompt_most, output_least, output_most;
  struct Times {
    double prefill, decode;    // llm.npu, seconds
    double llama_cpp_prefill;  // llama.cpp on the CPU
  };
  std::array<Times, kPaperModels.size()> of_model;

  uint32_t prompt() const { return (prompt_least + prompt_most + 1) / 2; }
  double output() const { return 0.5 * (output_least + output_most); }
};
std::span<const PublishedTask> published_tasks();

struct Range {
  double least, most;
  bool holds(double x) const { return x >= least && x <= most; }
};
// Figure 19: tokens a second with 512 tokens on a Redmi K70 Pro. Its bars: NPU naively, with shared chunk
// graphs, with shadow outliers, out of order.
struct PublishedStages {
  std::string_view model;
  std::array<double, 4> tok_s;
};
std::span<const PublishedStages> published_stages();

// How many times as fast as llama.cpp on the CPU with 1,024 tokens (section 4.2). Empty: not published.
struct PublishedRanges {
  std::string_view phone;
  Range speed_1024;              // over llama.cpp
  Range joules_64, joules_1024;  // llama.cpp's energy over llm.npu's; 0: not measured on that phone
};
std::span<const PublishedRanges> published_ranges();

// Section 3.4, Figure 13: idle share of the NPU with chunks overlapped naively, and out of order.
constexpr double kNaiveBubble = 0.37, kOutOfOrderBubble = 0.007;
// Section 3.3: what merging outliers in all layers costs of latency and of energy.
constexpr double kMergeLatency = 0.297, kMergeEnergy = 0.201;

// T-MAN (arXiv 2511.11248), Table 3: BitNet-2B with 1,024 tokens on a Snapdragon 8 Gen 3.
constexpr double kCpuAloneWatts = 8.22, kNpuAloneWatts = (4.96 + 5.01) / 2, kLlmNpuWatts = 8.89;
constexpr double kLlmNpuJoulesPerToken = 0.0269;

}  // namespace cairn::measure
