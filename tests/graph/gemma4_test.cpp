// Gemma 4's metadata: how layers differ, and what is wrong about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/mistakes.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {
namespace {

using ::testing::HasSubstr;

// Four layers, every other one local; the last two read earlier ones' keys; embeddings of layers, 8 wide.
ModelFile gemma4() {
  ModelFile m("gemma4");
  const auto set = [&](const char* key, gguf::WriterValue value) {
    m.metadata[std::string("gemma4.") + key] = std::move(value);
  };
  set("block_count", uint32_t{4});
  set("feed_forward_length", std::vector<int32_t>{64, 64, 128, 128});
  set("attention.head_count_kv", std::vector<int32_t>{2, 1, 2, 1});
  set("attention.sliding_window", uint32_t{16});
  set("attention.sliding_window_pattern", std::vector<bool>{true, false, true, false});
  set("attention.key_length", uint32_t{16});
  set("attention.value_length", uint32_t{16});
  set("attention.key_length_swa", uint32_t{8});
  set("attention.value_length_swa", uint32_t{8});
  set("rope.dimension_count", uint32_t{16});
  set("rope.dimension_count_swa", uint32_t{8});
  set("attention.shared_kv_layers", uint32_t{2});
  set("embedding_length_per_layer_input", uint32_t{8});
  m.tensors.clear();
  m.tensors = {{"token_embd.weight", {32, 100}},
               {"output_norm.weight", {32}},
               {"rope_freqs.weight", {8}},
               {"per_layer_token_embd.weight", {32, 100}},
               {"per_layer_model_proj.weight", {32, 32}},
               {"per_layer_proj_norm.weight", {8}}};
  for (uint64_t i = 0; i < 4; ++i) {
    const std::string at = "blk." + std::to_string(i) + ".";
    const uint64_t head = i % 2 == 0 ? 8 : 16, kv = i % 2 == 0 ? 16 : 16, ffn = i < 2 ? 64 : 128;
    for (const char* norm : {"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm"})
      m.tensors[at + norm + ".weight"] = {32};
    m.tensors[at + "attn_q.weight"] = {32, 4 * head};
    m.tensors[at + "attn_q_norm.weight"] = {head};
    m.tensors[at + "attn_output.weight"] = {4 * head, 32};
    if (i < 2) {
      m.tensors[at + "attn_k.weight"] = {32, kv};
      m.tensors[at + "attn_k_norm.weight"] = {head};
      if (i == 0) m.tensors[at + "attn_v.weight"] = {32, kv};
    }
    m.tensors[at + "ffn_gate.weight"] = m.tensors[at + "ffn_up.weight"] = {32, ffn};
    m.tensors[at + "ffn_down.weight"] = {ffn, 32};
    m.tensors[at + "inp_gate.weight"] = {32, 8};
    m.tensors[at + "proj.weight"] = {8, 32};
    m.tensors[at + "layer_output_scale.weight"] = {1};
  }
  return m;
}

TEST(Gemma4, ReadsHowLayersDiffer) {
  const Model model = load(gemma4().open());
  const HyperParameters& p = model.parameters;
  EXPECT_EQ(p.ffn, 128u);
  EXPECT_EQ(p.ffn_of(1), 64u);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(p.head_size_of(i), i % 2 == 0 ? 8u : 16u);
    EXPECT_EQ(p.kv_heads_of(i), i % 2 == 0 ? 2u : 1u);
    EXPECT_EQ(p.shared_distance(i), i < 2 ? 0u : 2u);
  }
  EXPECT_EQ(p.values_are_keys, (std::vector<bool>{false, true, false, false}));
  EXPECT_EQ(p.attention_scale, 1.0F);
  EXPECT_EQ(p.rope.factors, "rope_freqs.weight");
  EXPECT_EQ(p.local_rope.factors, "");
  EXPECT_EQ(p.local_rope.dims, 8u);
  EXPECT_EQ(model.width(Slot::query), 64u);
  EXPECT_EQ(model.width(Slot::layer_inputs), 32u);
}

// Older checkpoints have keys and values in layers that do not use them.
TEST(Gemma4, PassesOverKeysThatNobodyReads) {
  ModelFile m = gemma4();
  m.tensors["blk.2.attn_k.weight"] = m.tensors["blk.2.attn_v.weight"] = {32, 16};
  m.tensors["blk.3.attn_k_norm.weight"] = {16};
  EXPECT_EQ(load(m.open()).layers.size(), 4u);
}

TEST(Gemma4, SomeDoNotKnowItsOps) {
  try {
    require_plain(load(gemma4().open()), "m.gguf", "stacks do");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "m.gguf: stacks do not know the op 'attention': architecture 'gemma4' has heads of several sizes");
  }
}

// … with three experts, 16 wide, beside the ffn of each layer.
ModelFile gemma4_mixture() {
  ModelFile m = gemma4();
  m.metadata["gemma4.expert_count"] = uint32_t{3};
  m.metadata["gemma4.expert_used_count"] = uint32_t{2};
  m.metadata["gemma4.expert_feed_forward_length"] = uint32_t{16};
  for (int i = 0; i < 4; ++i) {
    const std::string at = "blk." + std::to_string(i) + ".";
    for (const char* norm :
         {"post_ffw_norm_1.weight", "post_ffw_norm_2.weight", "pre_ffw_norm_2.weight", "ffn_gate_inp.scale"})
      m.tensors[at + norm] = {32};
    m.tensors[at + "ffn_gate_inp.weight"] = {32, 3};
    m.tensors[at + "ffn_gate_up_exps.weight"] = {32, 32, 3};
    m.tensors[at + "ffn_down_exps.weight"] = {16, 32, 3};
    m.tensors[at + "ffn_down_exps.scale"] = {3};
  }
  return m;
}

TEST(Gemma4, ReadsItsMixture) {
  ModelFile m = gemma4_mixture();
  EXPECT_TRUE(load(m.open()).parameters.fused_experts);
  // Some have gate and up in two.
  for (int i = 0; i < 4; ++i) {
    const std::string at = "blk." + std::to_string(i) + ".";
    m.tensors.erase(at + "ffn_gate_up_exps.weight");
    m.tensors[at + "ffn_gate_exps.weight"] = m.tensors[at + "ffn_up_exps.weight"] = {32, 16, 3};
  }
  EXPECT_FALSE(load(m.open()).parameters.fused_experts);
}

TEST(Gemma4, RefusesMistakesInItsMixture) {
  const auto refuse = [](const char* told, const char* tensor, const std::vector<uint64_t>& shape) {
    ModelFile m = gemma4_mixture();
    m.tensors[tensor] = shape;
    try {
      load(m.open());
      ADD_FAILURE() << "accepted: " << told;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(told));
    }
  };
  refuse("blk.1.ffn_gate_up_exps.weight is 32 × 16 × 3, expected 32 × 32 × 3",
         "blk.1.ffn_gate_up_exps.weight", {32, 16, 3});
  refuse("blk.2.ffn_down_exps.scale has 4 elements", "blk.2.ffn_down_exps.scale", {4});
  refuse("blk.0.ffn_gate_inp.scale has 3 elements", "blk.0.ffn_gate_inp.scale", {3});
  refuse("blk.3.pre_ffw_norm_2.weight has 16 elements", "blk.3.pre_ffw_norm_2.weight", {16});
}

TEST(Gemma4, RefusesMistakesWithAReason) {
  const auto refuse = [](const char* told, const std::function<void(ModelFile&)>& make) {
    expect_refused(gemma4(), make, told);
  };
  const auto wrong = [&](const char* key, gguf::WriterValue value, const char* told) {
    refuse(told, [&](ModelFile& m) { m.metadata[std::string("gemma4.") + key] = value; });
  };
  wrong("attention.shared_kv_layers", uint32_t{4},
        "gemma4.attention.shared_kv_layers is 4, but there are 4 layers");
  wrong("attention.shared_kv_layers", uint32_t{3},
        "layer 1 reads keys of an earlier layer with no window, and there is none");
  wrong("attention.value_length_swa", uint32_t{4},
        "gemma4.attention.value_length_swa = 4 differs from the key's 8");
  refuse("4 heads of gemma4.attention.key_length_swa = 8388608 are 33554432 wide", [](ModelFile& m) {
    m.metadata["gemma4.attention.key_length_swa"] = uint32_t{1} << 23;
    m.metadata["gemma4.attention.value_length_swa"] = uint32_t{1} << 23;
  });
  wrong("attention.sliding_window_pattern", std::vector<bool>{true, false}, "has 2 entries for 4 layers");
  wrong("attention.head_count_kv", std::vector<int32_t>{2, 1, 1, 1},
        "head_count_kv is 1 for layer 2, expected 2");
  wrong("attention.head_count_kv", std::vector<int32_t>{3, 1, 3, 1}, "head_count_kv is 3 for layer 0");
  wrong("attention.head_count_kv", std::vector<int32_t>{2, 1, 2, 0}, "head_count_kv is 0 for the last layer");
  wrong("feed_forward_length", std::vector<int32_t>{64, 64, 0, 128}, "gemma4.feed_forward_length holds a 0");
  wrong("rope.dimension_count_swa", uint32_t{9},
        "gemma4.rope.dimension_count_swa is 9, expected an even number");
  wrong("expert_count", uint32_t{8}, "gemma4.expert_used_count");
  refuse("sliding_window_pattern",
         [](ModelFile& m) { m.metadata.erase("gemma4.attention.sliding_window_pattern"); });
  refuse("blk.1.attn_k.weight", [](ModelFile& m) { m.tensors.erase("blk.1.attn_k.weight"); });
  refuse("blk.3.layer_output_scale.weight",
         [](ModelFile& m) { m.tensors["blk.3.layer_output_scale.weight"] = {2}; });
  refuse("blk.1.attn_q.weight", [](ModelFile& m) { m.tensors["blk.1.attn_q.weight"] = {32, 32}; });
  refuse("blk.2.ffn_down.weight", [](ModelFile& m) { m.tensors["blk.2.ffn_down.weight"] = {64, 32}; });
}

}  // namespace
}  // namespace cairn::graph
