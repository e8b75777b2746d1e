// Multi-head latent attention: what metadata makes of it, and what is wrong about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/mistakes.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {
namespace {

using ::testing::HasSubstr;

// A dense layer and one with eight experts in four groups, 16 wide, and two that all tokens share.
ModelFile deepseek() {
  ModelFile m("deepseek2");
  const auto set = [&](const char* key, gguf::WriterValue value) {
    m.metadata[std::string("deepseek2.") + key] = std::move(value);
  };
  set("attention.head_count_kv", uint32_t{1});
  set("attention.kv_lora_rank", uint32_t{24});
  set("attention.q_lora_rank", uint32_t{20});
  set("attention.key_length", uint32_t{32});
  set("attention.value_length", uint32_t{24});
  set("attention.key_length_mla", uint32_t{20});
  set("attention.value_length_mla", uint32_t{10});
  set("rope.dimension_count", uint32_t{8});
  set("leading_dense_block_count", uint32_t{1});
  set("expert_count", uint32_t{8});
  set("expert_used_count", uint32_t{3});
  set("expert_feed_forward_length", uint32_t{16});
  set("expert_shared_count", uint32_t{2});
  set("expert_group_count", uint32_t{4});
  set("expert_group_used_count", uint32_t{2});
  set("expert_weights_scale", 2.5F);
  for (const std::string at : {"blk.0.", "blk.1."}) {
    for (const char* part : {"attn_q.weight", "attn_k.weight", "attn_v.weight"}) m.tensors.erase(at + part);
    m.tensors[at + "attn_q_a.weight"] = {32, 20};
    m.tensors[at + "attn_q_a_norm.weight"] = {20};
    m.tensors[at + "attn_q_b.weight"] = {20, 80};
    m.tensors[at + "attn_kv_a_mqa.weight"] = {32, 32};
    m.tensors[at + "attn_kv_a_norm.weight"] = {24};
    m.tensors[at + "attn_k_b.weight"] = {12, 24, 4};
    m.tensors[at + "attn_v_b.weight"] = {24, 10, 4};
    m.tensors[at + "attn_output.weight"] = {40, 32};
  }
  for (const char* part : {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"})
    m.tensors.erase(std::string("blk.1.") + part);
  m.tensors["blk.1.ffn_gate_inp.weight"] = {32, 8};
  m.tensors["blk.1.ffn_gate_exps.weight"] = m.tensors["blk.1.ffn_up_exps.weight"] = {32, 16, 8};
  m.tensors["blk.1.ffn_down_exps.weight"] = {16, 32, 8};
  m.tensors["blk.1.ffn_gate_shexp.weight"] = m.tensors["blk.1.ffn_up_shexp.weight"] = {32, 32};
  m.tensors["blk.1.ffn_down_shexp.weight"] = {32, 32};
  return m;
}

const Op& find(const Model& model, OpKind kind) {
  for (const Layer& layer : model.layers) {
    for (const OpList& ops : layer) {
      for (const Op& op : ops) {
        if (op.kind == kind) return op;
      }
    }
  }
  throw std::runtime_error("no such op");
}

TEST(Latent, ReadsTheWidths) {
  const Model model = load(deepseek().open());
  const HyperParameters& p = model.parameters;
  EXPECT_EQ(p.plain_size, 12u);
  EXPECT_EQ(p.head_size, 32u);
  EXPECT_EQ(p.ffns, (std::vector<uint32_t>{64, 32}));
  EXPECT_EQ(model.width(Slot::query), 128u);
  EXPECT_EQ(model.width(Slot::key), 32u);
  EXPECT_EQ(model.width(Slot::value), 0u);
  EXPECT_EQ(model.width(Slot::query_heads), 80u);
  EXPECT_EQ(model.width(Slot::context_heads), 40u);
  EXPECT_FLOAT_EQ(p.attention_scale, 1 / std::sqrt(20.0F));
  const Op& route = find(model, OpKind::route);
  EXPECT_EQ(route.groups, 4u);
  EXPECT_EQ(route.groups_used, 2u);
  EXPECT_EQ(route.factor, 2.5F);
  EXPECT_FALSE(route.normalise);  // where the file does not say so
  EXPECT_EQ(route.activation, Activation::none);
}

// The layer behind the model's own, that predicts a further token, is passed over.
TEST(Latent, PassesOverLayersThatDraft) {
  ModelFile m = deepseek();
  m.metadata["deepseek2.block_count"] = uint32_t{3};
  m.metadata["deepseek2.nextn_predict_layers"] = uint32_t{1};
  m.tensors["blk.2.nextn.eh_proj.weight"] = {64, 32};
  m.tensors["blk.2.attn_norm.weight"] = {32};
  const Model model = load(m.open());
  EXPECT_EQ(model.layers.size(), 2u);
  EXPECT_FALSE(has_state(model));
  // Some files have room for such a layer, and not the layer.
  std::erase_if(m.tensors, [](const auto& tensor) { return tensor.first.starts_with("blk.2."); });
  m.tensors["blk.1.exp_probs_b.bias"] = {8};
  EXPECT_TRUE(load(m.open()).parameters.choice_bias);
}

// A bias of the choice tells that scores are a sigmoid where the file leaves it open.
TEST(Latent, ABiasOfTheChoiceIsASigmoids) {
  ModelFile m = deepseek();
  m.tensors["blk.1.exp_probs_b.bias"] = {8};
  const Model model = load(m.open());
  EXPECT_EQ(find(model, OpKind::route).activation, Activation::sigmoid);
  EXPECT_EQ(find(model, OpKind::route).bias, "blk.1.exp_probs_b.bias");
  m.metadata["deepseek2.expert_gating_func"] = uint32_t{1};
  EXPECT_EQ(find(load(m.open()), OpKind::route).activation, Activation::none);
}

TEST(Latent, YarnIsInTheScores) {
  ModelFile m = deepseek();
  m.metadata["deepseek2.rope.scaling.type"] = std::string("yarn");
  m.metadata["deepseek2.rope.scaling.factor"] = 40.0F;
  m.metadata["deepseek2.rope.scaling.yarn_log_multiplier"] = 0.0707F;
  const HyperParameters p = read_hyper_parameters(m.open());
  const float size = 1 + 0.0707F * std::log(40.0F);
  EXPECT_FLOAT_EQ(p.attention_scale, size * size / std::sqrt(20.0F));
  EXPECT_EQ(p.rope.attention_factor, 1.0F);
}

TEST(Latent, SomeDoNotKnowItsOps) {
  ModelFile m = deepseek();
  try {
    require_plain(load(m.open()), "m.gguf", "stacks do");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "m.gguf: stacks do not know the op 'head_linear': architecture 'deepseek2' has attention to "
                 "compressed keys and values");
  }
}

TEST(Latent, RefusesMistakesWithAReason) {
  const auto refuse = [](const char* told, const std::function<void(ModelFile&)>& make) {
    expect_refused(deepseek(), make, told);
  };
  const auto wrong = [&](const char* key, gguf::WriterValue value, const char* told) {
    refuse(told, [&](ModelFile& m) { m.metadata[std::string("deepseek2.") + key] = value; });
  };
  wrong("attention.kv_lora_rank", uint32_t{20},
        "deepseek2.attention.key_length = 32 with deepseek2.attention.value_length = 24, 1 key and value "
        "heads, "
        "expected one head of deepseek2.attention.kv_lora_rank = 20 and");
  wrong("attention.kv_lora_rank", uint32_t{0}, "deepseek2.attention.kv_lora_rank is 0, expected 1 to");
  wrong("attention.value_length", uint32_t{32}, "expected one head of");
  wrong("attention.head_count_kv", uint32_t{4}, "4 key and value heads, expected one head of");
  wrong("attention.key_length_mla", uint32_t{8},
        "deepseek2.attention.key_length_mla is 8, expected more than deepseek2.rope.dimension_count = 8");
  wrong("attention.value_length_mla", uint32_t{1} << 23, "4 heads of 8388608 are 33554432 wide");
  wrong("attention.q_lora_rank", uint32_t{24},
        "tensor blk.0.attn_q_a_norm.weight has 20 elements in 1 rows, expected 24 in one");
  wrong("attention.temperature_scale", 0.1F, "deepseek2.attention.temperature_scale is not supported");
  wrong("leading_dense_block_count", uint32_t{3},
        "deepseek2.leading_dense_block_count is 3, but there are 2 layers");
  wrong("leading_dense_block_count", uint32_t{0}, "blk.0.ffn_gate_inp.weight");
  wrong("expert_group_count", uint32_t{3}, "2 of deepseek2.expert_group_count = 3 groups of 8 experts");
  wrong("expert_group_used_count", uint32_t{5}, "5 of deepseek2.expert_group_count = 4 groups of 8 experts");
  wrong("expert_group_used_count", uint32_t{1},
        "3 experts of a token in deepseek2.expert_group_used_count = 1 groups of 2");
  wrong("expert_used_count", uint32_t{9}, "deepseek2.expert_used_count is 9, more than");
  wrong("expert_gating_func", uint32_t{4}, "deepseek2.expert_gating_func is 4");
  wrong("expert_shared_count", uint32_t{1} << 24,
        "deepseek2.expert_shared_count is 16777216: experts of 16 are wider than");
  wrong("nextn_predict_layers", uint32_t{2}, "deepseek2.nextn_predict_layers is 2 of 2 layers");
  refuse("deepseek2.attention.key_length_mla",
         [](ModelFile& m) { m.metadata.erase("deepseek2.attention.key_length_mla"); });
  refuse("blk.1.attn_k_b.weight is 12 × 24 × 3, expected 12 × 24 × 4", [](ModelFile& m) {
    m.tensors["blk.1.attn_k_b.weight"] = {12, 24, 3};
  });
  refuse("blk.0.attn_v_b.weight is 24 × 12 × 4, expected 24 × 10 × 4", [](ModelFile& m) {
    m.tensors["blk.0.attn_v_b.weight"] = {24, 12, 4};
  });
  refuse("blk.0.attn_kv_a_norm.weight",
         [](ModelFile& m) { m.tensors["blk.0.attn_kv_a_norm.weight"] = {32}; });
  refuse("blk.1.exp_probs_b.bias", [](ModelFile& m) { m.tensors["blk.1.exp_probs_b.bias"] = {7}; });
  refuse("attn_kv_b.weight: keys and values in one matrix, as converters before 2025 wrote them",
         [](ModelFile& m) {
           m.metadata.erase("deepseek2.attention.key_length_mla");
           m.tensors["blk.0.attn_kv_b.weight"] = {24, 88};
         });
}

}  // namespace
}  // namespace cairn::graph
