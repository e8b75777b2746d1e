// Mixtures of experts: what their metadata and tensors mean, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/mistakes.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {
namespace {

using testing::HasSubstr;

TEST(HyperParameters, Mixtures) {
  const Model model = load(ModelFile::mixture().open());
  const HyperParameters& p = model.parameters;
  EXPECT_EQ(p.experts, 4U);
  EXPECT_EQ(p.experts_used, 2U);
  EXPECT_EQ(p.expert_ffn, 16U);
  EXPECT_TRUE(p.normalise_experts);
  EXPECT_FLOAT_EQ(p.expert_scale, 1);
  EXPECT_EQ(model.width(Slot::router), 4U);
  EXPECT_EQ(model.width(Slot::expert_gate), 32U);
  EXPECT_EQ(model.width(Slot::expert_out), 64U);
  ModelFile scaled = ModelFile::mixture();
  scaled.metadata["qwen3moe.expert_weights_scale"] = 2.5F;
  EXPECT_FLOAT_EQ(read_hyper_parameters(scaled.open()).expert_scale, 2.5F);
  ModelFile gated = ModelFile::mixture();
  gated.metadata["qwen3moe.expert_weights_norm"] = false;
  EXPECT_FALSE(read_hyper_parameters(gated.open()).normalise_experts);
  gated.metadata["qwen3moe.expert_gating_func"] = uint32_t{3};  // a softmax of the chosen has the sum of 1
  EXPECT_TRUE(read_hyper_parameters(gated.open()).normalise_experts);
}

TEST(HyperParameters, GptOss) {
  ModelFile file = ModelFile::gpt_oss();
  const Model model = load(file.open());
  EXPECT_TRUE(model.parameters.is_local(0));
  EXPECT_FALSE(model.parameters.is_local(1));
  // What transformers computes of the 20B's rope_scaling, whose "truncate" is false.
  file.metadata["gpt-oss.attention.key_length"] = uint32_t{64};
  file.metadata["gpt-oss.attention.value_length"] = uint32_t{64};
  file.metadata["gpt-oss.rope.freq_base"] = 150000.0F;
  file.metadata["gpt-oss.rope.scaling.type"] = "yarn";
  file.metadata["gpt-oss.rope.scaling.factor"] = 32.0F;
  file.metadata["gpt-oss.rope.scaling.original_context_length"] = uint32_t{4096};
  const Rope rope = read_hyper_parameters(file.open()).rope;
  EXPECT_NEAR(rope.ramp_begin, 8.0927791F, 1e-5F);
  EXPECT_NEAR(rope.ramp_end, 17.3980245F, 1e-5F);
  EXPECT_FLOAT_EQ(rope.attention_factor, 1.3465735902799727F);
}

// llama.cpp's tools write a tensor's dimensions up to the last that is not 1.
TEST(Load, OfASingleExpertTheThirdDimensionMayBeLeftOut) {
  ModelFile file = ModelFile::mixture();
  for (const char* key : {"qwen3moe.expert_count", "qwen3moe.expert_used_count"})
    file.metadata[key] = uint32_t{1};
  for (const std::string prefix : {"blk.0.", "blk.1."}) {
    file.tensors[prefix + "ffn_gate_inp.weight"] = {32};
    file.tensors[prefix + "ffn_gate_exps.weight"] = {32, 16};
    file.tensors[prefix + "ffn_up_exps.weight"] = {32, 16, 1};
    file.tensors[prefix + "ffn_down_exps.weight"] = {16, 32};
  }
  EXPECT_EQ(load(file.open()).parameters.experts, 1U);
}

void set(ModelFile& model, const char* key, gguf::WriterValue value) {
  model.metadata[key] = std::move(value);
}

class BadMixture : public testing::TestWithParam<Mistake> {};

TEST_P(BadMixture, IsRefusedWithAReason) {
  expect_refused(ModelFile::mixture(), GetParam());
}

const std::vector<Mistake> kMistakes = {
    {"no_experts",
     [](ModelFile& m) { m.metadata.erase("qwen3moe.expert_count"); },
     ErrorCode::format,
     {"qwen3moe.expert_count"}},
    {"zero_experts",
     [](ModelFile& m) { set(m, "qwen3moe.expert_count", uint32_t{0}); },
     ErrorCode::format,
     {"qwen3moe.expert_count is 0"}},
    {"no_experts_used",
     [](ModelFile& m) { set(m, "qwen3moe.expert_used_count", uint32_t{0}); },
     ErrorCode::format,
     {"qwen3moe.expert_used_count is 0"}},
    {"more_experts_used",
     [](ModelFile& m) { set(m, "qwen3moe.expert_used_count", uint32_t{5}); },
     ErrorCode::format,
     {"qwen3moe.expert_used_count is 5", "qwen3moe.expert_count = 4"}},
    {"wide_experts",
     [](ModelFile& m) { set(m, "qwen3moe.expert_feed_forward_length", uint32_t{1} << 24); },
     ErrorCode::format,
     {"2 experts are 33554432 wide"}},
    {"experts_by_sigmoid",
     [](ModelFile& m) { set(m, "qwen3moe.expert_gating_func", uint32_t{2}); },
     ErrorCode::unsupported,
     {"qwen3moe.expert_gating_func is 2"}},
    {"experts_scaled",
     [](ModelFile& m) { set(m, "qwen3moe.expert_weights_scale", -2.0F); },
     ErrorCode::format,
     {"qwen3moe.expert_weights_scale is -2"}},
    {"experts_of_another_number",
     [](ModelFile& m) {
       m.tensors["blk.1.ffn_up_exps.weight"] = {32, 16, 3};
     },
     ErrorCode::format,
     {"blk.1.ffn_up_exps.weight is 32 × 16 × 3, expected 32 × 16 × 4"}},
    {"experts_of_another_width",
     [](ModelFile& m) {
       m.tensors["blk.0.ffn_down_exps.weight"] = {32, 32, 4};
     },
     ErrorCode::format,
     {"blk.0.ffn_down_exps.weight is 32 × 32 × 4, expected 16 × 32 × 4"}},
    {"experts_in_two_dimensions",
     [](ModelFile& m) {
       m.tensors["blk.0.ffn_gate_exps.weight"] = {32, 64};
     },
     ErrorCode::format,
     {"blk.0.ffn_gate_exps.weight is 32 × 64, expected 32 × 16 × 4"}},
    {"router",
     [](ModelFile& m) {
       m.tensors["blk.0.ffn_gate_inp.weight"] = {32, 5};
     },
     ErrorCode::format,
     {"blk.0.ffn_gate_inp.weight", "5", "4"}},
    {"no_router",
     [](ModelFile& m) { m.tensors.erase("blk.1.ffn_gate_inp.weight"); },
     ErrorCode::not_found,
     {"blk.1.ffn_gate_inp.weight"}},
    {"biases_of_experts",
     [](ModelFile& m) {
       m = ModelFile::gpt_oss();
       m.tensors["blk.1.ffn_down_exps.bias"] = {32, 3};
     },
     ErrorCode::format,
     {"blk.1.ffn_down_exps.bias is 32 × 3, expected 32 × 4"}},
    {"sinks",
     [](ModelFile& m) {
       m = ModelFile::gpt_oss();
       m.tensors["blk.0.attn_sinks.weight"] = {2};
     },
     ErrorCode::format,
     {"blk.0.attn_sinks.weight", "2", "4"}},
    {"no_window",
     [](ModelFile& m) {
       m = ModelFile::gpt_oss();
       m.metadata.erase("gpt-oss.attention.sliding_window");
     },
     ErrorCode::format,
     {"gpt-oss.attention.sliding_window"}},
    {"shared_expert",
     [](ModelFile& m) {
       m = ModelFile::mixture("granitemoe");
       set(m, "granitemoe.logit_scale", 8.0F);
       set(m, "granitemoe.expert_shared_feed_forward_length", uint32_t{48});
     },
     ErrorCode::not_found,
     {"blk.0.ffn_gate_shexp.weight"}},
};
INSTANTIATE_TEST_SUITE_P(, BadMixture, testing::ValuesIn(kMistakes),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Load, MixturesAreRefusedByThoseWhoDoNotKnowThem) {
  require_plain(load(ModelFile().open()), "dense.gguf", "stacks do");
  try {
    require_plain(load(ModelFile::mixture().open()), "mixture.gguf", "stacks do");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_STREQ(
        error.what(),
        "mixture.gguf: stacks do not know the op 'route': architecture 'qwen3moe' is a mixture of experts");
  }
}

}  // namespace
}  // namespace cairn::graph
