// Families with Mamba-2: what their metadata and tensors mean, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/mistakes.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {
namespace {

using testing::HasSubstr;

void set_mamba2(ModelFile& model, const std::string& architecture, const std::string& prefix) {
  const auto set = [&](const char* key, uint32_t value) {
    model.metadata[architecture + ".ssm." + key] = value;
  };
  set("conv_kernel", 4);
  set("state_size", 16);
  set("group_count", 2);
  set("time_step_rank", 4);
  set("inner_size", 64);
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
    model.tensors.erase(prefix + name + ".weight");
  model.tensors[prefix + "ssm_in.weight"] = {32, 64 + 128 + 4};
  model.tensors[prefix + "ssm_conv1d.weight"] = {4, 128};
  model.tensors[prefix + "ssm_conv1d.bias"] = {128};
  model.tensors[prefix + "ssm_a"] = model.tensors[prefix + "ssm_d"] = {1, 4};
  model.tensors[prefix + "ssm_dt.bias"] = {4};
  model.tensors[prefix + "ssm_norm.weight"] = {32, 2};
  model.tensors[prefix + "ssm_out.weight"] = {64, 32};
}

// Mamba-2 of 4 heads of 16 in 2 groups, states of 16 rows, in layer 0; attention in layer 1.
ModelFile granite() {
  ModelFile model("granitehybrid");
  set_mamba2(model, "granitehybrid", "blk.0.");
  model.metadata["granitehybrid.attention.head_count_kv"] = std::vector<int32_t>{0, 2};
  model.metadata["granitehybrid.logit_scale"] = 8.0F;
  model.metadata["granitehybrid.rope.scaling.finetuned"] = false;
  model.metadata["granitehybrid.expert_count"] = uint32_t{0};
  return model;
}

// The same in layer 0, a feed-forward part in layer 1, attention in layer 2.
ModelFile nemotron(const std::string& architecture = "nemotron_h") {
  ModelFile model(architecture);
  set_mamba2(model, architecture, "blk.0.");
  model.metadata[architecture + ".block_count"] = uint32_t{3};
  model.metadata[architecture + ".attention.head_count_kv"] = std::vector<int32_t>{0, 0, 2};
  model.metadata[architecture + ".feed_forward_length"] = std::vector<int32_t>{0, 64, 0};
  for (const std::string prefix : {"blk.0.", "blk.1."}) {
    for (const char* name : {"ffn_norm", "ffn_gate", "ffn_up", "ffn_down"})
      model.tensors.erase(prefix + name + ".weight");
  }
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "attn_norm"}) {
    const std::string part = name + std::string(".weight");
    model.tensors["blk.2." + part] = model.tensors["blk.1." + part];
    if (part != "attn_norm.weight") model.tensors.erase("blk.1." + part);
  }
  model.tensors["blk.1.ffn_up.weight"] = {32, 64};
  model.tensors["blk.1.ffn_down.weight"] = {64, 32};
  return model;
}

// Four experts 16 wide, two for each token, beside one 48 wide.
ModelFile nemotron_moe() {
  ModelFile model = nemotron("nemotron_h_moe");
  const auto set = [&](const char* key, uint32_t value) {
    model.metadata[std::string("nemotron_h_moe.") + key] = value;
  };
  set("expert_count", 4);
  set("expert_used_count", 2);
  set("expert_feed_forward_length", 16);
  set("expert_shared_feed_forward_length", 48);
  set("expert_group_count", 1);
  set("expert_group_used_count", 1);
  model.metadata["nemotron_h_moe.feed_forward_length"] = std::vector<int32_t>{0, 16, 0};
  model.tensors.erase("blk.1.ffn_up.weight");
  model.tensors.erase("blk.1.ffn_down.weight");
  model.tensors["blk.1.ffn_gate_inp.weight"] = {32, 4};
  model.tensors["blk.1.exp_probs_b.bias"] = {4};
  model.tensors["blk.1.ffn_up_exps.weight"] = {32, 16, 4};
  model.tensors["blk.1.ffn_down_exps.weight"] = {16, 32, 4};
  model.tensors["blk.1.ffn_up_shexp.weight"] = {32, 48};
  model.tensors["blk.1.ffn_down_shexp.weight"] = {48, 32};
  return model;
}

TEST(HyperParameters, Mamba2BesideAttention) {
  const Model model = load(granite().open());
  const HyperParameters& p = model.parameters;
  EXPECT_TRUE(p.is_recurrent(0));
  EXPECT_FALSE(p.is_recurrent(1));
  EXPECT_FALSE(p.attends(0));
  EXPECT_TRUE(p.attends(1));
  EXPECT_FALSE(p.has_rope(1));
  EXPECT_EQ(model.width(Slot::conv), 128U);
  EXPECT_EQ(model.width(Slot::conv_in), 0U);
  EXPECT_EQ(model.width(Slot::delta), 64U);
  EXPECT_EQ(model.width(Slot::alpha), 4U);
  EXPECT_EQ(model.width(Slot::beta), 0U);
  EXPECT_TRUE(has_state(model));
}

TEST(HyperParameters, LayersOfOnePart) {
  const Model model = load(nemotron().open());
  const auto subgraphs = [&](uint32_t layer) {
    std::string filled;
    for (const OpList& ops : model.layers[layer]) filled += ops.empty() ? '-' : 'x';
    return filled;
  };
  EXPECT_EQ(subgraphs(0), "xxxx--");
  EXPECT_EQ(subgraphs(1), "----xx");
  EXPECT_EQ(subgraphs(2), "xxxx--");
  for (uint32_t layer = 0; layer < 3; ++layer)
    EXPECT_EQ(model.parameters.attends(layer), layer == 2) << layer;
  const Model mixture = load(nemotron_moe().open());
  EXPECT_TRUE(mixture.parameters.sigmoid_experts);
  EXPECT_EQ(mixture.width(Slot::gate), 48U);
  EXPECT_EQ(mixture.width(Slot::expert_gate), 2 * 16U);
  // Layers behind the model's own that draft are passed over.
  ModelFile drafting = nemotron();
  drafting.metadata["nemotron_h.block_count"] = uint32_t{4};
  drafting.metadata["nemotron_h.nextn_predict_layers"] = uint32_t{1};
  drafting.metadata["nemotron_h.attention.head_count_kv"] = std::vector<int32_t>{0, 0, 2, 2};
  drafting.metadata["nemotron_h.feed_forward_length"] = std::vector<int32_t>{0, 64, 0, 64};
  drafting.tensors["blk.3.nextn.eh_proj.weight"] = {64, 32};
  EXPECT_EQ(load(drafting.open()).layers.size(), 3U);
}

class BadMamba : public testing::TestWithParam<Mistake> {};

TEST_P(BadMamba, IsRefusedWithAReason) {
  const std::string name = GetParam().name;
  expect_refused(name.starts_with("granite") ? granite()
                 : name.starts_with("moe")   ? nemotron_moe()
                                             : nemotron(),
                 GetParam());
}

std::function<void(ModelFile&)> with(const char* key, gguf::WriterValue value) {
  return [=](ModelFile& m) { m.metadata[key] = value; };
}
std::function<void(ModelFile&)> shaped(const char* tensor, std::vector<uint64_t> shape) {
  return [=](ModelFile& m) { m.tensors[tensor] = shape; };
}

const std::vector<Mistake> kMistakes = {
    {"granite_no_state",
     [](ModelFile& m) { m.metadata.erase("granitehybrid.ssm.state_size"); },
     ErrorCode::format,
     {"granitehybrid.ssm.state_size"}},
    {"granite_groups",
     with("granitehybrid.ssm.group_count", uint32_t{3}),
     ErrorCode::format,
     {"granitehybrid.ssm.time_step_rank is 4, not a multiple of granitehybrid.ssm.group_count = 3"}},
    {"granite_heads",
     with("granitehybrid.ssm.inner_size", uint32_t{66}),
     ErrorCode::format,
     {"granitehybrid.ssm.inner_size is 66, not a multiple of granitehybrid.ssm.time_step_rank = 4"}},
    {"granite_wide_heads",
     with("granitehybrid.ssm.inner_size", uint32_t{1 << 14}),
     ErrorCode::format,
     {"heads of 4096, expected at most 1024"}},
    {"granite_large_state",
     [](ModelFile& m) {
       m.metadata["granitehybrid.ssm.state_size"] = uint32_t{1024};
       m.metadata["granitehybrid.ssm.time_step_rank"] = m.metadata["granitehybrid.ssm.group_count"] =
           uint32_t{4096};
       m.metadata["granitehybrid.ssm.inner_size"] = uint32_t{4096 * 1024};
     },
     ErrorCode::format,
     {"a layer's state", "is 4294967296 numbers, expected at most 67108864"}},
    {"granite_zero_heads",
     with("granitehybrid.ssm.time_step_rank", uint32_t{0}),
     ErrorCode::format,
     {"granitehybrid.ssm.time_step_rank is 0"}},
    {"granite_no_attention",
     with("granitehybrid.attention.head_count_kv", std::vector<int32_t>{0, 0}),
     ErrorCode::unsupported,
     {"no layer has attention"}},
    {"granite_list",
     with("granitehybrid.attention.head_count_kv", std::vector<int32_t>{2, 0}),
     ErrorCode::not_found,
     {"blk.0.attn_q.weight"}},
    {"granite_in",
     shaped("blk.0.ssm_in.weight", {32, 195}),
     ErrorCode::format,
     {"blk.0.ssm_in.weight has 195 rows, expected 196"}},
    {"granite_bias_of_the_convolution",
     shaped("blk.0.ssm_conv1d.bias", {127}),
     ErrorCode::format,
     {"blk.0.ssm_conv1d.bias has 127 elements"}},
    {"granite_norm",
     shaped("blk.0.ssm_norm.weight", {64}),
     ErrorCode::format,
     {"blk.0.ssm_norm.weight is 64, expected 32 × 2"}},
    {"granite_skip",
     shaped("blk.0.ssm_d", {1, 5}),
     ErrorCode::format,
     {"blk.0.ssm_d is 1 × 5, expected 1 × 4"}},
    {"granite_left_over",
     shaped("blk.1.ssm_a", {1, 4}),
     ErrorCode::unsupported,
     {"blk.1.ssm_a has no place"}},
    {"nemotron_one_width",
     with("nemotron_h.feed_forward_length", uint32_t{64}),
     ErrorCode::format,
     {"nemotron_h.feed_forward_length"}},
    {"nemotron_lists_of_fewer_layers",
     with("nemotron_h.feed_forward_length", std::vector<int32_t>{0, 64}),
     ErrorCode::format,
     {"nemotron_h.feed_forward_length has 2 entries for 3 layers"}},
    {"nemotron_two_parts",
     with("nemotron_h.feed_forward_length", std::vector<int32_t>{0, 64, 64}),
     ErrorCode::format,
     {"layer 2 has both nemotron_h.attention.head_count_kv and nemotron_h.feed_forward_length"}},
    {"nemotron_widths",
     with("nemotron_h.feed_forward_length", std::vector<int32_t>{32, 64, 0}),
     ErrorCode::unsupported,
     {"nemotron_h.feed_forward_length has 32 and 64"}},
    {"nemotron_no_widths",
     with("nemotron_h.feed_forward_length", std::vector<int32_t>{0, 0, 0}),
     ErrorCode::unsupported,
     {"no layer has a feed-forward part"}},
    {"nemotron_kinds",
     with("nemotron_h.feed_forward_length", std::vector<int32_t>{64, 0, 0}),
     ErrorCode::not_found,
     {"blk.0.ffn_up.weight"}},
    {"nemotron_all_layers_draft",
     with("nemotron_h.nextn_predict_layers", uint32_t{3}),
     ErrorCode::format,
     {"nemotron_h.nextn_predict_layers is 3 of 3 layers"}},
    {"nemotron_gate",
     shaped("blk.1.ffn_gate.weight", {32, 64}),
     ErrorCode::unsupported,
     {"blk.1.ffn_gate.weight has no place"}},
    {"moe_latent",
     with("nemotron_h_moe.moe_latent_size", uint32_t{16}),
     ErrorCode::unsupported,
     {"nemotron_h_moe.moe_latent_size is 16"}},
    {"moe_groups",
     with("nemotron_h_moe.expert_group_count", uint32_t{2}),
     ErrorCode::unsupported,
     {"nemotron_h_moe.expert_group_count is 2"}},
    {"moe_experts",
     shaped("blk.1.ffn_up_exps.weight", {32, 16, 3}),
     ErrorCode::format,
     {"blk.1.ffn_up_exps.weight is 32 × 16 × 3, expected 32 × 16 × 4"}},
};
INSTANTIATE_TEST_SUITE_P(, BadMamba, testing::ValuesIn(kMistakes),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace cairn::graph
