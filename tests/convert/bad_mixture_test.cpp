// What can be wrong about a mixture's experts: each is one line that names the file, the place and the
// reason.
#include <gtest/gtest.h>

#include "base/expect_error.hpp"
#include "convert/convert.hpp"
#include "copied_checkpoint.hpp"

namespace cairn::convert {
namespace {

using cairn::testing::CopiedCheckpoint;
using cairn::testing::TemporaryFolder;
using Json = nlohmann::json;

void refuse(const std::string& part, const CopiedCheckpoint& checkpoint, ErrorCode code = ErrorCode::format) {
  const TemporaryFolder out;
  cairn::testing::expect_error(code, part, [&] {
    convert(checkpoint.path(), Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {});
  });
  EXPECT_EQ(out.entries(), 0u);
}

void refuse_config(const std::string& part, const char* name, const std::function<void(Json&)>& change,
                   ErrorCode code = ErrorCode::format) {
  const CopiedCheckpoint checkpoint(name);
  checkpoint.edit("config.json", change);
  refuse(part, checkpoint, code);
}

constexpr const char* kQwen = "Qwen3-30B-A3B";
// A table that is passed over, so that what bore its name is missing.
constexpr const char* kIgnored = "model.rotary_emb.inv_freq";

TEST(BadMixture, ExpertsMoreThanThereAre) {
  const std::string fifth = "model.layers.0.mlp.experts.4.down_proj.weight";
  refuse_config("tensor '" + fifth + "' has no place in a model of 2 layers, each with 4 experts,", kQwen,
                [](Json& j) { j["num_experts"] = 4; });
  refuse_config("tensor 'model.layers.0.mlp.gate.weight' has shape [5, 16], ", kQwen,
                [](Json& j) { j["num_experts"] = 6; });
  refuse_config("tensor 'model.layers.0.mlp.experts.down_proj_bias' has shape [3, 32], ", "gpt-oss",
                [](Json& j) { j["num_local_experts"] = 4; });
  refuse_config("input_linear.weight' has shape [4, 48, 16], ", "granitemoe",
                [](Json& j) { j["num_local_experts"] = 5; });
  refuse_config("num_experts_per_tok is 6, but there are 5 experts", kQwen,
                [](Json& j) { j["num_experts_per_tok"] = 6; });
  refuse_config("num_experts_per_tok is 0, but there are 5 experts", kQwen,
                [](Json& j) { j["num_experts_per_tok"] = 0; });
  refuse_config("num_experts is 1000000, more than 4096", kQwen, [](Json& j) { j["num_experts"] = 1000000; });
  refuse_config("num_experts is 4096 in 4096 layers, more than any model has", kQwen, [](Json& j) {
    j["num_experts"] = 4096;
    j["num_hidden_layers"] = 4096;
  });
  refuse_config("num_experts is missing or 0 in a mixture", kQwen, [](Json& j) { j["num_experts"] = 0; });
  refuse_config("num_experts is missing or 0 in a mixture", "qwen35moe",
                [](Json& j) { j["text_config"]["num_experts"] = 0; });
}

TEST(BadMixture, Gemma4) {
  const auto config = [](const std::string& part, const std::function<void(Json&)>& change) {
    refuse_config(part, "gemma4-mixture", change);
  };
  config("num_experts is 5, against what enable_moe_block says",
         [](Json& j) { j["enable_moe_block"] = false; });
  config("num_experts_per_tok is 6, but there are 5 experts", [](Json& j) { j["top_k_experts"] = 6; });
  config("experts.down_proj' has shape [5, 16, 12], ", [](Json& j) { j["num_experts"] = 6; });
  config("moe_intermediate_size is missing", [](Json& j) { j.erase("moe_intermediate_size"); });
}

TEST(BadMixture, LatentAttention) {
  constexpr const char* kLite = "deepseek-v2-lite";
  constexpr auto kUnsupported = ErrorCode::unsupported;
  refuse_config("kv_a_layernorm.weight' has shape [12], ", kLite, [](Json& j) { j["kv_lora_rank"] = 16; });
  refuse_config("kv_b_proj.weight' has shape [44, 12], ", kLite, [](Json& j) { j["v_head_dim"] = 6; });
  refuse_config("q_proj.weight' has no place", kLite, [](Json& j) { j["q_lora_rank"] = 8; });
  refuse_config("first_k_dense_replace is more than the 3 layers", kLite,
                [](Json& j) { j["first_k_dense_replace"] = 4; });
  refuse_config("v_head_dim is 0, expected 1 to", kLite, [](Json& j) { j["v_head_dim"] = 0; });
  refuse_config(
      "attention_bias true is not supported", kLite, [](Json& j) { j["attention_bias"] = true; },
      kUnsupported);
  refuse_config(
      "moe_layer_freq of more than 1 is not supported", kLite, [](Json& j) { j["moe_layer_freq"] = 2; },
      kUnsupported);
  refuse_config(
      "topk_method 'greedy' with 2 groups is not supported", kLite, [](Json& j) { j["n_group"] = 2; },
      kUnsupported);
  refuse_config(
      "norm_topk_prob true of DeepSeek V2 is not supported", kLite,
      [](Json& j) { j["norm_topk_prob"] = true; }, kUnsupported);
  refuse_config(
      "scoring_func 'sigmoid' is not supported", kLite, [](Json& j) { j["scoring_func"] = "sigmoid"; },
      kUnsupported);
  refuse_config(
      "mscale 1 beside an mscale_all_dim of 0.707 is not supported", kLite,
      [](Json& j) { j["rope_scaling"]["mscale"] = 1.0; }, kUnsupported);
  refuse_config("n_group is 4, which does not divide 6 experts", "deepseek-v3",
                [](Json& j) { j["n_group"] = 4; });
  refuse_config(
      "topk_method 'greedy' with 2 groups is not supported", "deepseek-v3",
      [](Json& j) { j["topk_method"] = "greedy"; }, kUnsupported);
  refuse_config(
      "rope_interleave false is not supported", "deepseek-v3", [](Json& j) { j["rope_interleave"] = false; },
      kUnsupported);
  refuse_config("first_k_dense_replace is missing", "glm4-moe-lite",
                [](Json& j) { j.erase("first_k_dense_replace"); });
  refuse_config("mlp_layer_types is not 1 dense layers and sparse ones", "glm4-moe-lite", [](Json& j) {
    j["mlp_layer_types"] = {"dense", "dense", "sparse"};
  });
  refuse_config("num_nextn_predict_layers is more than the 3 layers", "glm4-moe-lite",
                [](Json& j) { j["num_nextn_predict_layers"] = 4; });
  refuse_config("n_routed_experts is 4096 in 4096 layers, more than any model has", kLite, [](Json& j) {
    j["n_routed_experts"] = 4096;
    j["num_hidden_layers"] = 4096;
  });
}

TEST(BadMixture, ExpertsThatAreMissing) {
  const auto renamed = [](const std::string& part, const char* name, const std::string& from,
                          const std::string& to) {
    const CopiedCheckpoint checkpoint(name);
    checkpoint.rename(from, to);
    refuse(part, checkpoint);
  };
  const std::string last = "model.layers.1.mlp.experts.4.up_proj.weight";
  const CopiedCheckpoint one(kQwen);
  one.rename(last, kIgnored);
  one.rename(last + "_scale_inv", "ignored.input_scale");
  refuse("tensor '" + last + "' is missing", one);
  renamed("has no scale, but config.json says that weights are quantized", kQwen, last + "_scale_inv",
          kIgnored);
  const std::string down = "model.layers.1.mlp.experts.down_proj_";
  renamed("tensor '" + down + "blocks' has no scales", "gpt-oss", down + "scales", kIgnored);
  renamed("tensor '" + down + "scales' has no place", "gpt-oss", down + "blocks", kIgnored);
  renamed("tensor '" + down + "bias' is missing", "gpt-oss", down + "bias", kIgnored);
  const std::string router = "model.layers.0.block_sparse_moe.router.layer.weight";
  renamed("tensor '" + router + "' is missing", "granitemoe", router, kIgnored);
}

TEST(BadMixture, Mxfp4) {
  const std::string down = "model.layers.1.mlp.experts.down_proj_";
  const CopiedCheckpoint shape("gpt-oss");
  shape.edit_header([&](Json& header) { header[down + "scales"]["shape"] = {3, 64, 1}; });
  refuse("tensor '" + down + "scales' has shape [3, 64, 1], its blocks' says [3, 32, 2]", shape);
  const CopiedCheckpoint kind("gpt-oss");
  kind.edit_header([&](Json& header) { header[down + "blocks"]["dtype"] = "I8"; });
  refuse("tensor '" + down + "blocks': MXFP4 of kind I8 is not read", kind, ErrorCode::unsupported);
  refuse_config("hidden_size or intermediate_size is 48, no multiple of MXFP4's 32", "gpt-oss",
                [](Json& j) { j["intermediate_size"] = 48; });
  // Blocks where the config has none, and the other way round.
  refuse_config("down_proj_blocks' has no place", "gpt-oss", [](Json& j) { j.erase("quantization_config"); });
  refuse_config("down_proj' has no place", "gpt-oss-plain", [](Json& j) {
    j["quantization_config"] = {{"quant_method", "mxfp4"}};
  });
  refuse_config(
      "weights quantized by 'mxfp4' are not read", kQwen,
      [](Json& j) {
        j["quantization_config"] = {{"quant_method", "mxfp4"}};
      },
      ErrorCode::unsupported);
}

TEST(BadMixture, WhatIsNotSupportedIsNamed) {
  refuse_config(
      "layers of kind 'rwkv' are not supported (mamba and attention are)", "granite4",
      [](Json& j) {
        j["layer_types"] = {"attention", "rwkv"};
      },
      ErrorCode::unsupported);
  refuse_config("layer_types does not list 2 layers", "granite4", [](Json& j) { j.erase("layer_types"); });
  refuse_config(
      "attention layers alone without RoPE are not supported", "granite4-mixture",
      [](Json& j) { j["position_embedding_type"] = "nope"; }, ErrorCode::unsupported);
  refuse_config("num_experts_per_tok is 0, but there are 4 experts", "granite4-mixture",
                [](Json& j) { j["num_experts_per_tok"] = 0; });
  for (const char* key : {"mlp_only_layers", "decoder_sparse_step"}) {
    refuse_config(
        "layers without experts", kQwen, [&](Json& j) { j[key] = key[0] == 'm' ? Json{1} : Json(2); },
        ErrorCode::unsupported);
  }
}

}  // namespace
}  // namespace cairn::convert
