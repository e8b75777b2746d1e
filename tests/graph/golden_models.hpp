// The tiny models of tests/data/golden_models (tools/make_golden_logits.py) and what transformers says of
// them.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "formats/gguf.hpp"

namespace cairn::graph {

inline constexpr std::array kDenseModels = {
    "llama",      "llama3_rope", "llama_linear_bias", "mistral_window", "qwen2",      "gemma",
    "gemma3",     "phi2",        "phi2_split",        "qwen3",          "qwen3_yarn", "phi3",
    "phi3_short", "phi3_long",   "mistral3",          "smollm3",        "olmo2",      "olmo2_window",
    "glm4",       "glm4_plain",  "exaone4",           "exaone4_window", "granite",    "granite_bias"};
inline constexpr std::array kMixtures = {"qwen3moe",          "qwen3moe_unnormed", "granitemoe",
                                         "granitemoe_shared", "gpt_oss",           "gpt_oss_mxfp4"};
// With a recurrent state.
inline constexpr std::array kRecurrentModels = {
    "lfm2",          "lfm2_wide",         "qwen35",     "qwen35_equal",    "qwen35_draft",  "qwen35moe",
    "granitehybrid", "granitehybrid_moe", "nemotron_h", "nemotron_h_bias", "nemotron_h_moe"};
// … of which these have a layer that drafts.
inline constexpr std::array kDraftingModels = {"qwen35_draft", "qwen35moe"};
// With layers that differ in heads and widths, and share keys and values (tools/golden_gemma4.py).
inline constexpr std::array kUnequalModels = {"gemma4_small", "gemma4_large", "gemma4_shared",
                                              "gemma4_mixture"};
// Multi-head latent attention (tools/golden_latent.py).
inline constexpr std::array kLatentModels = {"deepseek2_lite", "deepseek2", "deepseek2_dense", "deepseek3",
                                             "glm4_moe_lite"};
inline constexpr auto kGoldenModels = [] {
  std::array<const char*, kDenseModels.size() + kMixtures.size() + kRecurrentModels.size() +
                              kUnequalModels.size() + kLatentModels.size()>
      all{};
  auto end = std::copy(kDenseModels.begin(), kDenseModels.end(), all.begin());
  end = std::copy(kMixtures.begin(), kMixtures.end(), end);
  end = std::copy(kRecurrentModels.begin(), kRecurrentModels.end(), end);
  end = std::copy(kUnequalModels.begin(), kUnequalModels.end(), end);
  std::copy(kLatentModels.begin(), kLatentModels.end(), end);
  return all;
}();
// Whose tokens see the whole text, and which have no head (tools/golden_embedders.py).
inline constexpr std::array kEmbedders = {"bert", "bert_first"};
// Positions that they are run with: LongRoPE's divisors depend on it (phi3_long's are the long ones).
constexpr uint32_t kGoldenContext = 64;

inline std::string golden_model_path(const std::string& name) {
  return std::string(CAIRN_TEST_DATA) + "/golden_models/" + name + ".gguf";
}

inline std::vector<float> golden_floats(const gguf::File& file, const char* tensor) {
  const gguf::Tensor& found = file.tensor(tensor);
  std::vector<float> values(found.data.size() / sizeof(float));
  std::memcpy(values.data(), found.data.data(), found.data.size());
  return values;
}

inline std::vector<int32_t> golden_integers(const gguf::File& file, const char* key) {
  const std::vector<int64_t> wide = file.integers(key);
  return {wide.begin(), wide.end()};
}

struct Golden {
  explicit Golden(const std::string& name) {
    const gguf::File file(std::string(CAIRN_TEST_DATA) + "/golden_models/" + name + ".golden.gguf");
    tokens = golden_integers(file, "golden.tokens");
    positions = golden_integers(file, "golden.positions");
    logits = golden_floats(file, "logits");
    vocabulary = logits.size() / positions.size();
  }
  std::vector<int32_t> tokens;
  std::vector<int32_t> positions;
  std::vector<float> logits;  // [positions, vocabulary]
  size_t vocabulary;
};

// Of kEmbedders.
struct GoldenStates {
  explicit GoldenStates(const std::string& name) {
    const gguf::File file(std::string(CAIRN_TEST_DATA) + "/golden_models/" + name + ".golden.gguf");
    tokens = golden_integers(file, "golden.tokens");
    states = golden_floats(file, "states");
    embedding = golden_floats(file, "embedding");
  }
  std::vector<int32_t> tokens;
  std::vector<float> states;     // [tokens, width]
  std::vector<float> embedding;  // [width], pooled as the file says, of length 1
};

// A text that is longer than a golden one, the `which`-th of many; all golden vocabularies hold its tokens.
inline std::vector<int32_t> long_text(size_t which, size_t length) {
  std::vector<int32_t> tokens(length);
  for (size_t i = 0; i < length; ++i)
    tokens[i] = static_cast<int32_t>((7 + which * 31 + i * i * 13 + i * 5 + i / 128) % 128);
  return tokens;
}

}  // namespace cairn::graph
