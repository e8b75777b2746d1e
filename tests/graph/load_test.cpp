#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/error.hpp"
#include "graph/graph.hpp"
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

struct Mistake {
  const char* name;
  std::function<void(ModelFile&)> make;
  ErrorCode code;
  std::vector<std::string> told;  // what the error names
};

void set(ModelFile& model, const char* key, gguf::WriterValue value) {
  model.metadata[key] = std::move(value);
}

class BadModel : public testing::TestWithParam<Mistake> {};

TEST_P(BadModel, IsRefusedWithAReason) {
  ModelFile model;
  GetParam().make(model);
  const gguf::File file = model.open();
  try {
    load(file);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), GetParam().code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(file.path()));
    for (const std::string& part : GetParam().told) EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

const std::vector<Mistake> kMistakes = {
    {"architecture",
     [](ModelFile& m) { set(m, "general.architecture", "mamba"); },
     ErrorCode::unsupported,
     {"'mamba'", "llama, qwen2, gemma, gemma3, phi2"}},
    {"no_layers",
     [](ModelFile& m) { m.metadata.erase("llama.block_count"); },
     ErrorCode::format,
     {"llama.block_count"}},
    {"zero_layers",
     [](ModelFile& m) { set(m, "llama.block_count", uint32_t{0}); },
     ErrorCode::format,
     {"llama.block_count is 0"}},
    {"many_layers",
     [](ModelFile& m) { set(m, "llama.block_count", uint32_t{4'000'000'000}); },
     ErrorCode::format,
     {"llama.block_count is 4000000000"}},
    {"layers_without_tensors",
     [](ModelFile& m) { set(m, "llama.block_count", uint32_t{3}); },
     ErrorCode::not_found,
     {"blk.2.attn_norm.weight"}},
    {"layers_left_over",
     [](ModelFile& m) { set(m, "llama.block_count", uint32_t{1}); },
     ErrorCode::unsupported,
     {"blk.1.", "llama"}},
    {"heads_of_text",
     [](ModelFile& m) { set(m, "llama.attention.head_count", "four"); },
     ErrorCode::format,
     {"llama.attention.head_count"}},
    {"heads_not_a_multiple",
     [](ModelFile& m) { set(m, "llama.attention.head_count_kv", uint32_t{3}); },
     ErrorCode::format,
     {"is 4", "= 3"}},
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
    {"value_length",
     [](ModelFile& m) { set(m, "llama.attention.value_length", uint32_t{4}); },
     ErrorCode::unsupported,
     {"= 4", "8"}},
    {"epsilon",
     [](ModelFile& m) {
       set(m, "llama.attention.layer_norm_rms_epsilon", std::numeric_limits<float>::quiet_NaN());
     },
     ErrorCode::format,
     {"llama.attention.layer_norm_rms_epsilon", "positive"}},
    {"rope_base",
     [](ModelFile& m) { set(m, "llama.rope.freq_base", -1.0F); },
     ErrorCode::format,
     {"llama.rope.freq_base is -1"}},
    {"rope_dimensions",
     [](ModelFile& m) { set(m, "llama.rope.dimension_count", uint32_t{16}); },
     ErrorCode::format,
     {"is 16", "size 8"}},
    {"rope_odd",
     [](ModelFile& m) { set(m, "llama.rope.dimension_count", uint32_t{7}); },
     ErrorCode::format,
     {"is 7"}},
    {"yarn",
     [](ModelFile& m) { set(m, "llama.rope.scaling.type", "yarn"); },
     ErrorCode::unsupported,
     {"'yarn'"}},
    {"experts",
     [](ModelFile& m) { set(m, "llama.expert_count", uint32_t{8}); },
     ErrorCode::unsupported,
     {"llama.expert_count is 8"}},
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
  p.architecture = "bert";
  EXPECT_THROW(build(p), Error);
}

}  // namespace
}  // namespace cairn::graph
