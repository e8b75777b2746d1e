#include "measure/published.hpp"

namespace cairn::measure {
namespace {

constexpr std::string_view kK70 = "snapdragon-8gen3", kK60 = "snapdragon-8gen2";

constexpr std::array<PublishedSpeed, 8> kSpeeds = {{
    {kK70, "qwen1.5-1.8b", 256, 564, "quoted in mllm's issues 206, 299"},
    {kK70, "qwen1.5-1.8b", 512, 569, "Figure 19"},
    {kK70, "qwen1.5-1.8b", 1024, 1106, "quoted in mllm's issues 206, 299"},
    {kK70, "gemma-2b", 64, 148, "Figure 18"},
    {kK70, "gemma-2b", 256, 322, "Figure 18"},
    {kK70, "gemma-2b", 512, 420, "Figure 19"},
    {kK70, "gemma-2b", 1024, 604, "Figure 18"},
    {kK70, "llama-2-7b", 512, 186, "Figure 19"},
}};

constexpr std::array<PublishedTask, 5> kTasks = {{
    {"2wikimqa",
     1451,
     1672,
     2,
     4,
     {{{1.49, 0.24, 26.43},
       {1.68, 0.25, 34.31},
       {2.79, 0.34, 53.00},
       {4.62, 0.70, 145.25},
       {4.61, 0.87, 199.37}}}},
    {"triviaqa",
     1511,
     1787,
     5,
     11,
     {{{1.49, 0.47, 26.57},
       {1.75, 0.43, 35.72},
       {2.94, 0.68, 55.60},
       {4.93, 1.28, 154.90},
       {4.82, 1.57, 208.41}}}},
    {"droidtask-long",
     656,
     827,
     1,
     5,
     {{{1.16, 0.25, 10.16},
       {0.97, 0.23, 16.25},
       {2.72, 0.34, 24.62},
       {4.28, 0.53, 59.83},
       {4.26, 0.65, 67.91}}}},
    {"droidtask-short",
     505,
     645,
     3,
     5,
     {{{0.90, 0.25, 7.83},
       {0.72, 0.23, 12.11},
       {2.07, 0.34, 18.65},
       {3.10, 0.52, 43.40},
       {3.13, 0.65, 49.95}}}},
    {"persona-chat",
     488,
     584,
     35,
     57,
     {{{2.92, 3.80, 8.07},
       {0.67, 3.48, 11.24},
       {1.91, 3.22, 15.24},
       {2.88, 8.30, 40.37},
       {2.88, 10.28, 46.02}}}},
}};

constexpr std::array<PublishedStages, 3> kStages = {{
    {"qwen1.5-1.8b", {25, 37, 395, 569}},
    {"gemma-2b", {18, 91, 355, 420}},
    {"llama-2-7b", {5, 15, 133, 186}},
}};

constexpr std::array<PublishedRanges, 2> kRanges = {{
    {kK70, {18.17, 38.4}, {0, 0}, {0, 0}},
    {kK60, {21.3, 41.3}, {10.38, 14.12}, {35.63, 59.52}},
}};

}  // namespace

std::span<const PublishedSpeed> published_speeds() {
  return kSpeeds;
}

std::span<const PublishedTask> published_tasks() {
  return kTasks;
}

std::span<const PublishedStages> published_stages() {
  return kStages;
}

std::span<const PublishedRanges> published_ranges() {
  return kRanges;
}

}  // namespace cairn::measure
