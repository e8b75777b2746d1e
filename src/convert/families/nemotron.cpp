// Nemotron-H and Nemotron 3: a layer is Mamba-2, attention, a feed-forward part or experts.
#include <algorithm>

#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/mamba_layers.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

Kind nemotron_kind(const Config& config, const char* key, const std::string& name) {
  if (name == "M" || name == "mamba" || name == "linear_attention") return Kind::mamba;
  if (name == "*" || name == "attention" || name == "full_attention") return Kind::attention;
  if (name == "-" || name == "mlp") return Kind::mlp;
  if (name == "E" || name == "moe") return Kind::experts;
  config.error(key, fmt::format("has a layer of kind {}, which is not known", quote(name)));
}

std::vector<Kind> nemotron_kinds(const Config& config) {
  std::vector<Kind> kinds;
  const char* key = config.find("hybrid_override_pattern") ? "hybrid_override_pattern" : "layers_block_type";
  const Json* list = config.find(key);
  if (list && list->is_string()) {
    for (const char letter : list->get<std::string>())
      kinds.push_back(nemotron_kind(config, key, std::string(1, letter)));
  } else if (list && list->is_array()) {
    for (const Json& kind : *list)
      kinds.push_back(nemotron_kind(config, key, kind.is_string() ? kind.get<std::string>() : kind.dump()));
  }
  if (kinds.size() != config.layers())
    config.error(key, fmt::format("is of {} layers, but there are {}", kinds.size(), config.layers()));
  return kinds;
}

bool has_kind(const Config& config, Kind kind) {
  const std::vector<Kind> kinds = nemotron_kinds(config);
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

MambaSizes nemotron_sizes(const Config& config) {
  return mamba_sizes(config, {"mamba_num_heads", "n_groups", "ssm_state_size", "conv_kernel"},
                     config.product("mamba_num_heads", "mamba_head_dim"));
}

void nemotron_metadata(const Config& config, ModelMetadata& out) {
  const bool moe = has_kind(config, Kind::experts);
  common_metadata(config, out);
  if (config.find("layer_norm_epsilon"))
    out.number("attention.layer_norm_epsilon", config.number("layer_norm_epsilon"));
  out.size("vocab_size", config.size("vocab_size"));
  out.size("rope.dimension_count", config.size("hidden_size") / config.heads());
  mamba_metadata(nemotron_sizes(config), out);
  std::vector<int32_t> kv_heads, widths;
  const uint32_t width = config.size(moe ? "moe_intermediate_size" : "intermediate_size");
  for (const Kind kind : nemotron_kinds(config)) {
    kv_heads.push_back(kv_heads_of(config, kind));
    widths.push_back(kind == Kind::mlp || kind == Kind::experts ? static_cast<int32_t>(width) : 0);
  }
  out.sizes("attention.head_count_kv", std::move(kv_heads));
  out.sizes("feed_forward_length", std::move(widths));
  out.flag("rope.scaling.finetuned", false);
  out.size("context_length", kMambaContext);
  if (!moe) {
    // Newer files have all keys of a mixture, whether there are experts or not.
    if (config.find("n_routed_experts")) out.size("expert_count", 0);
    return;
  }
  out.size("expert_feed_forward_length", width);
  out.size("expert_shared_feed_forward_length", config.size("moe_shared_expert_intermediate_size"));
  out.size("expert_shared_count", config.size("n_shared_experts"));
  out.flag("expert_weights_norm", config.flag("norm_topk_prob", true));
  out.number("expert_weights_scale", config.number("routed_scaling_factor"));
  out.size("expert_group_count", config.size("n_group"));
  if (config.find("topk_group")) out.size("expert_group_used_count", config.size("topk_group"));
}

// Published files say "backbone", newer transformers "model". Layers that predict further tokens are left
// out.
std::string backbone_name(std::string name) {
  constexpr std::string_view kModel = "model.";
  if (name.starts_with("mtp.")) return {};
  return name.starts_with(kModel) ? "backbone." + name.substr(kModel.size()) : name;
}

void nemotron_experts(LayerRules& layer, const TensorPlan& plan) {
  const Config& config = plan.config();
  const uint64_t width = config.size("moe_intermediate_size"),
                 shared = config.size("moe_shared_expert_intermediate_size");
  layer.linear("mixer.gate", "ffn_gate_inp", plan.experts, plan.hidden);
  layer.rule("mixer.gate.e_score_correction_bias", "exp_probs_b.bias", {plan.experts});
  for (uint32_t i = 0; i < plan.experts; ++i) {
    const auto matrix = [&](const char* from, const char* to, uint64_t rows, uint64_t columns) {
      TensorRule& rule = layer.linear(fmt::format("mixer.experts.{}.{}", i, from), to, rows, columns);
      rule.experts = static_cast<uint32_t>(plan.experts);
      rule.expert = i;
    };
    matrix("up_proj", "ffn_up_exps", width, plan.hidden);
    matrix("down_proj", "ffn_down_exps", plan.hidden, width);
  }
  layer.linear("mixer.shared_experts.up_proj", "ffn_up_shexp", shared, plan.hidden);
  layer.linear("mixer.shared_experts.down_proj", "ffn_down_shexp", plan.hidden, shared);
}

void nemotron_tensors(TensorPlan& plan) {
  const Config& config = plan.config();
  const std::vector<Kind> kinds = nemotron_kinds(config);
  const bool moe = has_kind(config, Kind::experts);
  if (moe) plan.experts = need_experts(config);
  constexpr uint64_t kMostMatrices = uint64_t{1} << 18;
  if (plan.layers * plan.experts > kMostMatrices)
    config.error("n_routed_experts",
                 fmt::format("is {} in {} layers, more than any model has", plan.experts, plan.layers));
  if (moe && has_kind(config, Kind::mlp))
    fail(ErrorCode::unsupported, "{}: feed-forward parts without experts beside those with are not supported",
         config.path());
  for (const auto& [key, function] : {std::pair{"mlp_hidden_act", "relu2"}, {"mamba_hidden_act", "silu"}}) {
    if (config.find(key) && config.text(key) != function)
      fail(ErrorCode::unsupported, "{}: {} is {}, expected '{}'", config.path(), key, quote(config.text(key)),
           function);
  }
  if (config.find("moe_latent_size"))
    fail(ErrorCode::unsupported, "{}: moe_latent_size: experts of another width are not supported",
         config.path());
  plan.rename = backbone_name;
  plan.add({"backbone.embeddings.weight", "token_embd.weight", {plan.vocabulary, plan.hidden}});
  plan.add({"backbone.norm_f.weight", "output_norm.weight", {plan.hidden}});
  plan.add({"lm_head.weight",
            "output.weight",
            {plan.vocabulary, plan.hidden},
            Layout::plain,
            0,
            config.flag("tie_word_embeddings", false)});
  const MambaSizes sizes = nemotron_sizes(config);
  for (uint32_t i = 0; i < plan.layers; ++i) {
    LayerRules layer(plan, fmt::format("backbone.layers.{}.", i), i);
    layer.norm("norm", "attn_norm", plan.hidden, false);
    switch (kinds[i]) {
      case Kind::mamba:
        mamba_layer(layer, "mixer.", plan.hidden, sizes);
        break;
      case Kind::attention:
        attention_layer(layer, "mixer.", plan);
        break;
      case Kind::mlp:
        layer.linear("mixer.up_proj", "ffn_up", plan.ffn, plan.hidden);
        layer.bias("mixer.up_proj", "ffn_up", plan.ffn);
        layer.linear("mixer.down_proj", "ffn_down", plan.hidden, plan.ffn);
        layer.bias("mixer.down_proj", "ffn_down", plan.hidden);
        break;
      case Kind::experts:
        nemotron_experts(layer, plan);
        break;
    }
  }
}

}  // namespace

void add_nemotron_families(std::vector<Family>& out) {
  const auto add = [&](std::string_view architecture, auto fits) {
    out.push_back({architecture,
                   {"NemotronHForCausalLM"},
                   nemotron_metadata,
                   any_vocabulary,
                   nemotron_tensors,
                   nullptr,
                   true,
                   fits});
  };
  add("nemotron_h_moe", [](const Config& config) { return has_kind(config, Kind::experts); });
  add("nemotron_h", [](const Config& config) { return !has_kind(config, Kind::experts); });
}

}  // namespace cairn::convert
