// Families with a recurrent state: what their metadata and tensors mean, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/mistakes.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {
namespace {

using testing::HasSubstr;

// A convolution in layer 0, attention in layer 1.
ModelFile lfm2() {
  ModelFile model("lfm2");
  model.metadata["lfm2.attention.head_count_kv"] = std::vector<int32_t>{0, 2};
  model.metadata["lfm2.shortconv.l_cache"] = uint32_t{3};
  model.tensors["token_embd_norm.weight"] = model.tensors.extract("output_norm.weight").mapped();
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
    model.tensors.erase("blk.0." + std::string(name) + ".weight");
  model.tensors["blk.0.shortconv.in_proj.weight"] = {32, 96};
  model.tensors["blk.0.shortconv.conv.weight"] = {3, 32};
  model.tensors["blk.0.shortconv.out_proj.weight"] = {32, 32};
  model.tensors["blk.1.attn_q_norm.weight"] = model.tensors["blk.1.attn_k_norm.weight"] = {8};
  return model;
}

// A delta net of 4 heads of 8 on 2 key heads in layer 0, attention in layer 1.
ModelFile qwen35() {
  ModelFile model("qwen35");
  const auto set = [&](const char* key, uint32_t value) {
    model.metadata[std::string("qwen35.") + key] = value;
  };
  set("ssm.conv_kernel", 4);
  set("ssm.state_size", 8);
  set("ssm.group_count", 2);
  set("ssm.time_step_rank", 4);
  set("ssm.inner_size", 32);
  set("full_attention_interval", 2);
  set("rope.dimension_count", 4);
  for (const std::string prefix : {"blk.0.", "blk.1."})
    model.tensors[prefix + "post_attention_norm.weight"] =
        model.tensors.extract(prefix + "ffn_norm.weight").mapped();
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
    model.tensors.erase("blk.0." + std::string(name) + ".weight");
  model.tensors["blk.0.attn_qkv.weight"] = {32, 64};
  model.tensors["blk.0.attn_gate.weight"] = {32, 32};
  model.tensors["blk.0.ssm_alpha.weight"] = model.tensors["blk.0.ssm_beta.weight"] = {32, 4};
  model.tensors["blk.0.ssm_conv1d.weight"] = {4, 64};
  model.tensors["blk.0.ssm_a"] = model.tensors["blk.0.ssm_dt.bias"] = {4};
  model.tensors["blk.0.ssm_norm.weight"] = {8};
  model.tensors["blk.0.ssm_out.weight"] = {32, 32};
  model.tensors["blk.1.attn_q.weight"] = {32, 64};
  model.tensors["blk.1.attn_q_norm.weight"] = model.tensors["blk.1.attn_k_norm.weight"] = {8};
  return model;
}

TEST(HyperParameters, ShortConvolutions) {
  const Model model = load(lfm2().open());
  const HyperParameters& p = model.parameters;
  EXPECT_TRUE(p.is_recurrent(0));
  EXPECT_FALSE(p.is_recurrent(1));
  EXPECT_EQ(p.kv_heads, 2U);
  EXPECT_EQ(p.conv_window, 3U);
  EXPECT_EQ(model.width(Slot::conv), 32U);
  EXPECT_EQ(model.width(Slot::conv_in), 32U);
  EXPECT_EQ(model.width(Slot::delta), 0U);
  EXPECT_TRUE(has_state(model));
  EXPECT_FALSE(has_state(load(ModelFile().open())));
}

TEST(HyperParameters, DeltaNets) {
  const Model model = load(qwen35().open());
  const HyperParameters& p = model.parameters;
  EXPECT_TRUE(p.is_recurrent(0));
  EXPECT_FALSE(p.is_recurrent(1));
  EXPECT_EQ(model.width(Slot::conv), 64U);
  EXPECT_EQ(model.width(Slot::conv_in), 0U);
  EXPECT_EQ(model.width(Slot::delta), 32U);
  EXPECT_EQ(model.width(Slot::alpha), 4U);
  EXPECT_EQ(model.width(Slot::query_gate), 64U);
  // Which layers have attention may be listed.
  ModelFile listed = qwen35();
  listed.metadata["qwen35.full_attention_interval"] = uint32_t{7};
  listed.metadata["qwen35.attention.recurrent_layers"] = std::vector<bool>{true, false};
  EXPECT_FALSE(load(listed.open()).parameters.is_recurrent(1));
}

// A layer behind the model's own drafts; several are passed over.
TEST(HyperParameters, DraftLayersAreNoneOfTheModels) {
  ModelFile model = qwen35();
  for (uint32_t layers : {1U, 2U}) {
    const std::string prefix = "blk." + std::to_string(1 + layers) + ".";
    model.metadata["qwen35.block_count"] = 2 + layers;
    model.metadata["qwen35.nextn_predict_layers"] = layers;
    for (const auto& [name, shape] : std::map(model.tensors)) {
      if (name.starts_with("blk.1.")) model.tensors[prefix + name.substr(6)] = shape;
    }
    model.tensors[prefix + "nextn.eh_proj.weight"] = {64, 32};
    model.tensors[prefix + "nextn.enorm.weight"] = model.tensors[prefix + "nextn.hnorm.weight"] = {32};
    const Model loaded = load(model.open());
    EXPECT_EQ(loaded.layers.size(), 2U);
    EXPECT_EQ(loaded.parameters.draft_layers, layers);
    EXPECT_EQ(loaded.draft.empty(), layers == 2);
  }
  ModelFile lacking = qwen35();
  lacking.metadata["qwen35.block_count"] = uint32_t{3};
  lacking.metadata["qwen35.nextn_predict_layers"] = uint32_t{1};
  EXPECT_THROW(load(lacking.open()), Error);
}

class BadState : public testing::TestWithParam<Mistake> {};

TEST_P(BadState, IsRefusedWithAReason) {
  expect_refused(std::string(GetParam().name).starts_with("lfm2") ? lfm2() : qwen35(), GetParam());
}

const std::vector<Mistake> kMistakes = {
    {"lfm2_kv_heads_of_fewer_layers",
     [](ModelFile& m) { m.metadata["lfm2.attention.head_count_kv"] = std::vector<int32_t>{2}; },
     ErrorCode::format,
     {"lfm2.attention.head_count_kv has 1 entries for 2 layers"}},
    {"lfm2_different_kv_heads",
     [](ModelFile& m) {
       m.metadata["lfm2.attention.head_count_kv"] = std::vector<int32_t>{1, 2};
     },
     ErrorCode::unsupported,
     {"lfm2.attention.head_count_kv has 1 and 2"}},
    {"lfm2_negative_kv_heads",
     [](ModelFile& m) {
       m.metadata["lfm2.attention.head_count_kv"] = std::vector<int32_t>{0, -2};
     },
     ErrorCode::format,
     {"-2 in layer 1"}},
    {"lfm2_no_attention",
     [](ModelFile& m) {
       m.metadata["lfm2.attention.head_count_kv"] = std::vector<int32_t>{0, 0};
     },
     ErrorCode::unsupported,
     {"no layer has attention"}},
    {"lfm2_no_window",
     [](ModelFile& m) { m.metadata.erase("lfm2.shortconv.l_cache"); },
     ErrorCode::format,
     {"lfm2.shortconv.l_cache"}},
    {"lfm2_long_window",
     [](ModelFile& m) { m.metadata["lfm2.shortconv.l_cache"] = uint32_t{65}; },
     ErrorCode::format,
     {"lfm2.shortconv.l_cache is 65, expected 1 to 64"}},
    {"lfm2_sees_what_follows",
     [](ModelFile& m) { m.metadata["lfm2.attention.causal"] = false; },
     ErrorCode::unsupported,
     {"lfm2.attention.causal is false"}},
    {"lfm2_convolution",
     [](ModelFile& m) {
       m.tensors["blk.0.shortconv.conv.weight"] = {4, 32};
     },
     ErrorCode::format,
     {"blk.0.shortconv.conv.weight is 4 × 32, expected 3 × 32"}},
    {"lfm2_input_rows",
     [](ModelFile& m) {
       m.tensors["blk.0.shortconv.in_proj.weight"] = {32, 95};
     },
     ErrorCode::format,
     {"blk.0.shortconv.in_proj.weight has 95 rows, expected 96"}},
    {"qwen35_no_kernel",
     [](ModelFile& m) { m.metadata.erase("qwen35.ssm.conv_kernel"); },
     ErrorCode::format,
     {"qwen35.ssm.conv_kernel"}},
    {"qwen35_heads",
     [](ModelFile& m) { m.metadata["qwen35.ssm.group_count"] = uint32_t{3}; },
     ErrorCode::format,
     {"qwen35.ssm.time_step_rank is 4, not a multiple of qwen35.ssm.group_count = 3"}},
    {"qwen35_width",
     [](ModelFile& m) { m.metadata["qwen35.ssm.inner_size"] = uint32_t{64}; },
     ErrorCode::unsupported,
     {"qwen35.ssm.inner_size is 64, expected 4 heads of 8"}},
    {"qwen35_large_state",
     [](ModelFile& m) {
       m.metadata["qwen35.ssm.state_size"] = uint32_t{1024};
       m.metadata["qwen35.ssm.time_step_rank"] = m.metadata["qwen35.ssm.group_count"] = uint32_t{4096};
       m.metadata["qwen35.ssm.inner_size"] = uint32_t{4096 * 1024};
     },
     ErrorCode::format,
     {"a layer's state of qwen35.ssm.inner_size × qwen35.ssm.state_size is 4294967296 numbers"}},
    {"qwen35_flags_of_more_layers",
     [](ModelFile& m) {
       m.metadata["qwen35.attention.recurrent_layers"] = std::vector<bool>{true, true, false};
     },
     ErrorCode::format,
     {"qwen35.attention.recurrent_layers is no list of 2 flags"}},
    {"qwen35_all_layers_draft",
     [](ModelFile& m) { m.metadata["qwen35.nextn_predict_layers"] = uint32_t{2}; },
     ErrorCode::format,
     {"qwen35.nextn_predict_layers is 2 of 2 layers"}},
    {"qwen35_no_attention",
     [](ModelFile& m) { m.metadata["qwen35.full_attention_interval"] = uint32_t{3}; },
     ErrorCode::unsupported,
     {"no layer of 2 has attention"}},
    {"qwen35_decays",
     [](ModelFile& m) { m.tensors["blk.0.ssm_a"] = {3}; },
     ErrorCode::format,
     {"blk.0.ssm_a has 3 elements"}},
    {"qwen35_queries_without_gates",
     [](ModelFile& m) {
       m.tensors["blk.1.attn_q.weight"] = {32, 32};
     },
     ErrorCode::format,
     {"blk.1.attn_q.weight has 32 rows, expected 64"}},
    {"qwen35_attention_beside_a_state",
     [](ModelFile& m) {
       m.tensors["blk.0.attn_q.weight"] = {32, 64};
     },
     ErrorCode::unsupported,
     {"blk.0.attn_q.weight has no place"}},
};
INSTANTIATE_TEST_SUITE_P(, BadState, testing::ValuesIn(kMistakes),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Load, RecurrentStatesAreRefusedByThoseWhoDoNotKnowThem) {
  try {
    require_plain(load(lfm2().open()), "conv.gguf", "stacks do");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_STREQ(
        error.what(),
        "conv.gguf: stacks do not know the op 'convolve': architecture 'lfm2' has a recurrent state");
  }
}

}  // namespace
}  // namespace cairn::graph
