// What can be wrong about a checkpoint with Mamba-2: each is one line that names the file, the place and the
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

void refuse(const std::string& part, const char* name, const std::function<void(Json&)>& change,
            ErrorCode code = ErrorCode::format) {
  const CopiedCheckpoint checkpoint(name);
  checkpoint.edit("config.json", change);
  const TemporaryFolder out;
  cairn::testing::expect_error(code, part, [&] {
    convert(checkpoint.path(), Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {});
  });
  EXPECT_EQ(out.entries(), 0u);
}

std::function<void(Json&)> with(const char* key, const Json& value) {
  return [=](Json& config) { config[key] = value; };
}

constexpr const char *kGranite = "granite4-hybrid", *kNemotron = "nemotron-h",
                     *kExperts = "nemotron-h-mixture";

TEST(BadMamba, SizesThatDoNotFit) {
  refuse("mamba_n_heads is 5, which does not divide the 32 channels", kGranite, with("mamba_n_heads", 5));
  refuse("mamba_n_groups is 3, which does not divide the 4 heads", kGranite, with("mamba_n_groups", 3));
  refuse("conv1d.bias' has shape [48], ", kGranite, with("mamba_d_state", 9));
  refuse("mamba_d_state is 0, expected 1", kGranite, with("mamba_d_state", 0));
  refuse("n_groups is 3, which does not divide the 8 heads", kNemotron, with("n_groups", 3));
  refuse("mamba_num_heads times mamba_head_dim is 134217728000, more than any model has", kNemotron,
         [](Json& config) {
           config["mamba_num_heads"] = 1 << 24;
           config["mamba_head_dim"] = 8000;
         });
  refuse("ssm_state_size is missing", kNemotron, [](Json& config) { config.erase("ssm_state_size"); });
}

TEST(BadMamba, LayersThatDisagree) {
  refuse("layer_types does not list 3 layers", kGranite, with("layer_types", Json::array({"mamba"})));
  refuse("tensor 'model.layers.1.self_attn.k_proj.weight' has no place", kGranite,
         with("layer_types", Json::array({"mamba", "mamba", "attention"})));
  refuse("hybrid_override_pattern is of 4 layers, but there are 5", kNemotron,
         with("hybrid_override_pattern", "M-M*"));
  refuse("hybrid_override_pattern has a layer of kind 'X', which is not known", kNemotron,
         with("hybrid_override_pattern", "M-X*-"));
  refuse("tensor 'backbone.layers.0.mixer.A_log' has no place", kNemotron,
         with("hybrid_override_pattern", "--M*-"));
  refuse("layers_block_type is of 0 layers, but there are 5", kNemotron,
         [](Json& config) { config.erase("hybrid_override_pattern"); });
}

TEST(BadMamba, WhatIsNotSupportedIsNamed) {
  refuse("position_embedding_type: Mamba's layers beside RoPE are not supported", kGranite,
         with("position_embedding_type", "rope"), ErrorCode::unsupported);
  refuse("feed-forward parts without experts beside those with are not supported", kExperts,
         with("hybrid_override_pattern", "ME*-"), ErrorCode::unsupported);
  refuse("mlp_hidden_act is 'silu', expected 'relu2'", kNemotron, with("mlp_hidden_act", "silu"),
         ErrorCode::unsupported);
  refuse("moe_latent_size: experts of another width are not supported", kExperts, with("moe_latent_size", 8),
         ErrorCode::unsupported);
  refuse("n_routed_experts is 4096 in 4096 layers", kExperts, [](Json& config) {
    config["n_routed_experts"] = config["num_hidden_layers"] = 4096;
    config["hybrid_override_pattern"] = std::string(4096, 'E');
  });
}

// Names of newer transformers, and a number of layers that nobody states.
TEST(Mamba, ReadsNewerNames) {
  const CopiedCheckpoint checkpoint(kNemotron);
  checkpoint.edit("config.json", [](Json& config) {
    config.erase("hybrid_override_pattern");
    config.erase("num_hidden_layers");
    config["layers_block_type"] = {"linear_attention", "mlp", "mamba", "full_attention", "mlp"};
    config["n_routed_experts"] = 8;
    config["num_experts_per_tok"] = 2;
  });
  checkpoint.edit_header([](Json& header) {
    Json renamed = Json::object();
    for (const auto& [name, value] : header.items())
      renamed[name.starts_with("backbone.") ? "model." + name.substr(9) : name] = value;
    header = renamed;
  });
  const TemporaryFolder out;
  convert(checkpoint.path(), Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {});
  EXPECT_EQ(out.entries(), 1u);
}

}  // namespace
}  // namespace cairn::convert
