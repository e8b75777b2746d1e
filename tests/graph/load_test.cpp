#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/mistakes.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {
namespace {

using testing::HasSubstr;

TEST(HyperParameters, ComeFromMetadataAndTensors) {
  const HyperParameters p = read_hyper_parameters(ModelFile().open());
  EXPECT_EQ(p.architecture, "llama");
  EXPECT_EQ(p.layers, 2U);
  EXPECT_EQ(p.embedding, 32U);
  EXPECT_EQ(p.ffn, 64U);
  EXPECT_EQ(p.vocabulary, 100U);
  EXPECT_EQ(p.context, 128U);
  EXPECT_EQ(p.heads, 4U);
  EXPECT_EQ(p.kv_heads, 2U);
  EXPECT_EQ(p.head_size, 8U);
  EXPECT_EQ(p.rope.dims, 8U);
  EXPECT_FALSE(p.rope.neox);
  EXPECT_FLOAT_EQ(p.rope.base, 10000);
  EXPECT_FLOAT_EQ(p.attention_scale, 1 / std::sqrt(8.0F));
  EXPECT_TRUE(p.tied_output);
  EXPECT_FALSE(p.qkv_bias);
}

TEST(HyperParameters, ScalingOfPositions) {
  ModelFile model;
  model.metadata["llama.rope.scaling.type"] = "linear";
  model.metadata["llama.rope.scaling.factor"] = 4.0F;
  EXPECT_FLOAT_EQ(read_hyper_parameters(model.open()).rope.frequency_scale, 0.25F);
  model.metadata["llama.rope.scaling.type"] = "none";
  EXPECT_FLOAT_EQ(read_hyper_parameters(model.open()).rope.frequency_scale, 1);
  model.metadata.erase("llama.rope.scaling.type");
  model.metadata.erase("llama.rope.scaling.factor");
  model.metadata["llama.rope.scale_linear"] = 2.0F;
  EXPECT_FLOAT_EQ(read_hyper_parameters(model.open()).rope.frequency_scale, 0.5F);
}

// What transformers computes for Qwen3 with its recommended YaRN.
TEST(HyperParameters, Yarn) {
  ModelFile model("qwen3");
  model.metadata["qwen3.context_length"] = uint32_t{131072};
  model.metadata["qwen3.attention.key_length"] = uint32_t{128};
  model.metadata["qwen3.attention.value_length"] = uint32_t{128};
  model.metadata["qwen3.rope.freq_base"] = 1e6F;
  model.metadata["qwen3.rope.scaling.type"] = "yarn";
  model.metadata["qwen3.rope.scaling.factor"] = 4.0F;
  model.metadata["qwen3.rope.scaling.original_context_length"] = uint32_t{32768};
  const auto rope = [&] { return read_hyper_parameters(model.open()).rope; };
  EXPECT_EQ(rope().yarn, 1);
  EXPECT_EQ(rope().ramp_begin, 23);
  EXPECT_EQ(rope().ramp_end, 40);
  EXPECT_FLOAT_EQ(rope().frequency_scale, 0.25F);
  EXPECT_FLOAT_EQ(rope().attention_factor, 1.138629436111989F);
  model.metadata["qwen3.rope.scaling.yarn_ext_factor"] = -1.0F;  // unset
  EXPECT_EQ(rope().yarn, 1);
  model.metadata["qwen3.rope.scaling.yarn_log_multiplier"] = 1.0F;  // as large as mscale
  EXPECT_FLOAT_EQ(rope().attention_factor, 1);
  model.metadata["qwen3.rope.scaling.yarn_attn_factor"] = 1.5F;  // beats both
  EXPECT_FLOAT_EQ(rope().attention_factor, 1.5F);
  model.metadata["qwen3.rope.scaling.yarn_ext_factor"] = 0.0F;  // linear
  EXPECT_EQ(rope().yarn, 0);
  EXPECT_FLOAT_EQ(rope().attention_factor, 1);
}

TEST(HyperParameters, LongDivisorsAreForLongContexts) {
  ModelFile model("phi3");
  model.metadata["phi3.rope.scaling.original_context_length"] = uint32_t{64};
  model.metadata["phi3.rope.scaling.attn_factor"] = 1.25F;
  for (const char* kind : {"short", "long"})
    model.tensors[std::string("rope_factors_") + kind + ".weight"] = {4};
  for (const std::string blk : {"blk.0.", "blk.1."}) {
    model.tensors.erase(blk + "ffn_gate.weight");
    model.tensors[blk + "ffn_up.weight"] = {32, 128};
  }
  const gguf::File file = model.open();
  for (const uint32_t context : {0U, 64U, 65U}) {
    const Model loaded = load(file, context);
    EXPECT_EQ(loaded.parameters.rope.is_long(), context > 64);
    for (const Layer& layer : loaded.layers) {
      const Op& query = layer[static_cast<size_t>(SubgraphKind::attention)][0];
      EXPECT_EQ(query.rope.factors, context > 64 ? "rope_factors_long.weight" : "rope_factors_short.weight");
      EXPECT_FLOAT_EQ(query.rope.attention_factor, 1.25F);
    }
  }
}

TEST(HyperParameters, GraniteMayHaveNoRope) {
  ModelFile model("granite");
  model.metadata["granite.logit_scale"] = 8.0F;
  EXPECT_TRUE(read_hyper_parameters(model.open()).has_rope(0));
  EXPECT_FLOAT_EQ(read_hyper_parameters(model.open()).logit_scale, 0.125F);
  model.metadata["granite.rope.scaling.finetuned"] = false;
  EXPECT_FALSE(read_hyper_parameters(model.open()).has_rope(0));
}

TEST(HyperParameters, WindowsWithoutAPatternAreEveryThreeOfFour) {
  for (const char* architecture : {"olmo2", "exaone4"}) {
    ModelFile model(architecture);
    model.metadata[std::string(architecture) + ".block_count"] = uint32_t{8};
    const auto local = [&] {
      std::string result;
      const HyperParameters p = read_hyper_parameters(model.open());
      for (uint32_t layer = 0; layer < 8; ++layer) result += p.is_local(layer) ? "L" : "G";
      return result;
    };
    EXPECT_EQ(local(), "GGGGGGGG");
    model.metadata[std::string(architecture) + ".attention.sliding_window"] = uint32_t{16};
    EXPECT_EQ(local(), "LLLGLLLG");
    model.metadata[std::string(architecture) + ".attention.sliding_window_pattern"] = uint32_t{2};
    EXPECT_EQ(local(), "LGLGLGLG");
  }
}

TEST(HyperParameters, Gemma3FilesLeaveMuchUnsaid) {
  ModelFile model("gemma3");
  model.metadata["gemma3.attention.sliding_window"] = uint32_t{512};
  model.metadata["gemma3.rope.freq_base"] = 1e6F;
  model.metadata["gemma3.rope.scaling.type"] = "linear";
  model.metadata["gemma3.rope.scaling.factor"] = 8.0F;
  const HyperParameters p = read_hyper_parameters(model.open());
  EXPECT_EQ(p.window, 512U);
  EXPECT_EQ(p.window_pattern, 6U);
  EXPECT_FLOAT_EQ(p.rope.base, 1e6F);
  EXPECT_FLOAT_EQ(p.rope.frequency_scale, 0.125F);
  EXPECT_FLOAT_EQ(p.local_rope.base, 10000);
  EXPECT_FLOAT_EQ(p.local_rope.frequency_scale, 1);
  EXPECT_TRUE(p.qk_norm);
  // The 27B model has 62 layers and scales by its embedding.
  model.metadata["gemma3.block_count"] = uint32_t{62};
  model.metadata["gemma3.attention.key_length"] = uint32_t{16};
  EXPECT_FLOAT_EQ(read_hyper_parameters(model.open()).attention_scale, 1 / std::sqrt(32.0F / 4));
  model.metadata["gemma3.attention.scale"] = 0.5F;
  EXPECT_FLOAT_EQ(read_hyper_parameters(model.open()).attention_scale, 0.5F);
}

void set(ModelFile& model, const char* key, gguf::WriterValue value) {
  model.metadata[key] = std::move(value);
}

// A list of truth values, which the writer has no kind for.
gguf::WriterValue flags(const std::vector<bool>& values) {
  constexpr uint32_t kArray = 9, kBool = 7;
  gguf::RawValue raw;
  const auto append = [&](auto number) {
    const auto bytes = std::bit_cast<std::array<std::byte, sizeof number>>(number);
    raw.bytes.insert(raw.bytes.end(), bytes.begin(), bytes.end());
  };
  append(kArray);
  append(kBool);
  append(uint64_t{values.size()});
  for (const bool value : values) append(static_cast<uint8_t>(value));
  return raw;
}

// A mistake in one key, in a file of the architecture that the key begins with.
std::function<void(ModelFile&)> with(const std::string& key, const gguf::WriterValue& value) {
  return [=](ModelFile& m) {
    m = ModelFile(key.substr(0, key.find('.')));
    m.metadata[key] = value;
  };
}

class BadModel : public testing::TestWithParam<Mistake> {};

TEST_P(BadModel, IsRefusedWithAReason) {
  expect_refused(ModelFile(), GetParam());
}

const std::vector<Mistake> kMistakes = {
    {"architecture",
     [](ModelFile& m) { set(m, "general.architecture", "mamba"); },
     ErrorCode::unsupported,
     {"'mamba'",
      "llama, qwen2, qwen3, gemma, gemma3, phi2, phi3, mistral3, smollm3, olmo2, glm4, exaone4, granite, "
      "qwen3moe, granitemoe, gpt-oss"}},
    {"no_layers",
     [](ModelFile& m) { m.metadata.erase("llama.block_count"); },
     ErrorCode::format,
     {"llama.block_count"}},
    {"zero_layers", with("llama.block_count", uint32_t{0}), ErrorCode::format, {"llama.block_count is 0"}},
    {"many_layers",
     with("llama.block_count", uint32_t{4'000'000'000}),
     ErrorCode::format,
     {"llama.block_count is 4000000000"}},
    {"layers_without_tensors",
     with("llama.block_count", uint32_t{3}),
     ErrorCode::not_found,
     {"blk.2.attn_norm.weight"}},
    {"layers_left_over", with("llama.block_count", uint32_t{1}), ErrorCode::unsupported, {"blk.1.", "llama"}},
    {"heads_of_text",
     with("llama.attention.head_count", "four"),
     ErrorCode::format,
     {"llama.attention.head_count"}},
    {"heads_not_a_multiple",
     with("llama.attention.head_count_kv", uint32_t{3}),
     ErrorCode::format,
     {"is 4", "= 3"}},
    {"heads_that_differ",
     with("llama.attention.head_count_kv", std::vector<int32_t>{2, 1}),
     ErrorCode::unsupported,
     {"llama.attention.head_count_kv", "2 and 1"}},
    {"heads_of_none",
     with("llama.attention.head_count_kv", std::vector<int32_t>{0, 0}),
     ErrorCode::unsupported,
     {"llama.attention.head_count_kv", "0 and 0"}},
    {"heads_not_a_divisor",
     [](ModelFile& m) {
       set(m, "llama.attention.head_count", uint32_t{5});
       set(m, "llama.attention.head_count_kv", uint32_t{5});
     },
     ErrorCode::format,
     {"5", "32"}},
    {"huge_heads",
     [](ModelFile& m) {
       set(m, "llama.attention.head_count", uint32_t{1} << 20);
       set(m, "llama.attention.key_length", uint32_t{1} << 20);
     },
     ErrorCode::format,
     {"1048576"}},
    {"value_length", with("llama.attention.value_length", uint32_t{4}), ErrorCode::unsupported, {"= 4", "8"}},
    {"epsilon",
     with("llama.attention.layer_norm_rms_epsilon", std::numeric_limits<float>::quiet_NaN()),
     ErrorCode::format,
     {"llama.attention.layer_norm_rms_epsilon", "positive"}},
    {"rope_base", with("llama.rope.freq_base", -1.0F), ErrorCode::format, {"llama.rope.freq_base is -1"}},
    {"rope_dimensions",
     with("llama.rope.dimension_count", uint32_t{16}),
     ErrorCode::format,
     {"is 16", "size 8"}},
    {"rope_odd", with("llama.rope.dimension_count", uint32_t{7}), ErrorCode::format, {"is 7"}},
    {"rope_scaling",
     with("llama.rope.scaling.type", "dynamic"),
     ErrorCode::unsupported,
     {"'dynamic'", "yarn, longrope"}},
    {"yarn_base",
     [](ModelFile& m) {
       set(m, "llama.rope.scaling.type", "yarn");
       set(m, "llama.rope.freq_base", 1.0F);
     },
     ErrorCode::format,
     {"llama.rope.freq_base is 1", "YaRN"}},
    {"yarn_turns",
     [](ModelFile& m) {
       set(m, "llama.rope.scaling.type", "yarn");
       set(m, "llama.rope.scaling.yarn_beta_slow", -1.0F);
     },
     ErrorCode::format,
     {"llama.rope.scaling.yarn_beta_slow is -1"}},
    {"yarn_share",
     [](ModelFile& m) {
       set(m, "llama.rope.scaling.type", "yarn");
       set(m, "llama.rope.scaling.yarn_ext_factor", std::numeric_limits<float>::infinity());
     },
     ErrorCode::format,
     {"llama.rope.scaling.yarn_ext_factor is inf"}},
    {"yarn_share_of_no_float",
     [](ModelFile& m) {
       set(m, "llama.rope.scaling.type", "yarn");
       set(m, "llama.rope.scaling.yarn_ext_factor", 1e300);
     },
     ErrorCode::format,
     {"llama.rope.scaling.yarn_ext_factor is 1e+300"}},
    {"original_context",
     with("llama.rope.scaling.original_context_length", uint32_t{0}),
     ErrorCode::format,
     {"llama.rope.scaling.original_context_length is 0"}},
    {"longrope_without_divisors",
     with("llama.rope.scaling.type", "longrope"),
     ErrorCode::format,
     {"'longrope'", "rope_factors_long.weight"}},
    {"longrope_of_one_kind",
     [](ModelFile& m) { m.tensors["rope_factors_long.weight"] = {4}; },
     ErrorCode::format,
     {"rope_factors_long.weight", "counterpart"}},
    {"longrope_divisors",
     [](ModelFile& m) {
       m.tensors["rope_factors_short.weight"] = {4};
       m.tensors["rope_factors_long.weight"] = {3};
     },
     ErrorCode::format,
     {"rope_factors_long.weight", "3", "4"}},
    {"temperature",
     with("mistral3.attention.temperature_scale", -0.1F),
     ErrorCode::format,
     {"mistral3.attention.temperature_scale is -0.1"}},
    {"temperature_of_a_part",
     [](ModelFile& m) {
       m = ModelFile("mistral3");
       set(m, "mistral3.attention.temperature_scale", 0.1F);
       set(m, "mistral3.rope.dimension_count", uint32_t{4});
     },
     ErrorCode::unsupported,
     {"mistral3.attention.temperature_scale", "4 of 8"}},
    {"window_list",
     [](ModelFile& m) {
       m = ModelFile("olmo2");
       set(m, "olmo2.attention.sliding_window", uint32_t{16});
       set(m, "olmo2.attention.sliding_window_pattern", flags({true, false, true}));
     },
     ErrorCode::format,
     {"olmo2.attention.sliding_window_pattern", "3 entries", "2 layers"}},
    {"window_pattern",
     with("gemma3.attention.sliding_window_pattern", uint32_t{0}),
     ErrorCode::format,
     {"gemma3.attention.sliding_window_pattern is 0"}},
    {"glm_positions",
     with("glm4.rope.dimension_sections", std::vector<int32_t>{1, 1, 2, 0}),
     ErrorCode::unsupported,
     {"glm4.rope.dimension_sections"}},
    {"glm_extra_layers",
     with("glm4.nextn_predict_layers", uint32_t{1}),
     ErrorCode::unsupported,
     {"glm4.nextn_predict_layers is 1"}},
    {"no_logit_scale",
     [](ModelFile& m) { m = ModelFile("granite"); },
     ErrorCode::format,
     {"granite.logit_scale"}},
    {"logit_scale", with("granite.logit_scale", 0.0F), ErrorCode::format, {"granite.logit_scale is 0"}},
    {"logit_scale_without_inverse",
     with("granite.logit_scale", 1e-40F),
     ErrorCode::format,
     {"granite.logit_scale", "positive"}},
    {"experts_of_any_family",
     with("phi3.expert_count", uint32_t{16}),
     ErrorCode::unsupported,
     {"phi3.expert_count is 16"}},
    {"experts", with("llama.expert_count", uint32_t{8}), ErrorCode::unsupported, {"llama.expert_count is 8"}},
    {"vocabulary",
     [](ModelFile& m) {
       set(m, "tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
     },
     ErrorCode::format,
     {"2 entries", "100 rows"}},
    {"no_embedding",
     [](ModelFile& m) { m.tensors.erase("token_embd.weight"); },
     ErrorCode::not_found,
     {"token_embd.weight"}},
    {"embedding_width",
     [](ModelFile& m) {
       m.tensors["token_embd.weight"] = {64, 100};
     },
     ErrorCode::format,
     {"token_embd.weight", "64", "32"}},
    {"missing_tensor",
     [](ModelFile& m) { m.tensors.erase("blk.1.ffn_up.weight"); },
     ErrorCode::not_found,
     {"blk.1.ffn_up.weight"}},
    {"rows",
     [](ModelFile& m) {
       m.tensors["blk.1.ffn_up.weight"] = {32, 63};
     },
     ErrorCode::format,
     {"blk.1.ffn_up.weight", "63", "64"}},
    {"row_length",
     [](ModelFile& m) {
       m.tensors["blk.0.ffn_down.weight"] = {32, 32};
     },
     ErrorCode::format,
     {"blk.0.ffn_down.weight", "32", "64"}},
    {"norm",
     [](ModelFile& m) { m.tensors["output_norm.weight"] = {31}; },
     ErrorCode::format,
     {"output_norm.weight", "31", "32"}},
    {"dimensions",
     [](ModelFile& m) {
       m.tensors["blk.0.attn_q.weight"] = {32, 16, 2};
     },
     ErrorCode::format,
     {"blk.0.attn_q.weight", "3 dimensions"}},
    {"rope_factors",
     [](ModelFile& m) { m.tensors["rope_freqs.weight"] = {5}; },
     ErrorCode::format,
     {"rope_freqs.weight", "5", "4"}},
    {"bias_in_one_layer_only",
     [](ModelFile& m) { m.tensors["blk.1.attn_q.bias"] = {32}; },
     ErrorCode::unsupported,
     {"blk.1.attn_q.bias"}},
    {"unknown_tensor",
     [](ModelFile& m) {
       m.tensors["blk.0.ffn_gate_inp.weight"] = {32, 8};
     },
     ErrorCode::unsupported,
     {"blk.0.ffn_gate_inp.weight"}},
};
INSTANTIATE_TEST_SUITE_P(, BadModel, testing::ValuesIn(kMistakes),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Load, FrequencyTablesOfOldConvertersAreLeftAlone) {
  ModelFile model;
  model.tensors["blk.0.attn_rot_embd"] = {4};
  EXPECT_EQ(load(model.open()).layers.size(), 2U);
}

TEST(Load, DimensionsOfOneAtTheEndAreNone) {
  ModelFile model;
  for (const char* name : {"blk.0.attn_q.weight", "blk.1.ffn_up.weight", "output_norm.weight"})
    model.tensors[name].push_back(1);
  model.tensors["blk.0.attn_k.weight"] = {32, 16, 1, 1};
  EXPECT_EQ(load(model.open()).layers.size(), 2U);
}

TEST(Build, RefusesAnUnknownArchitecture) {
  HyperParameters p;
  p.architecture = "rwkv7";
  EXPECT_THROW(build(p), Error);
}

}  // namespace
}  // namespace cairn::graph
