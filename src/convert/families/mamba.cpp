// Families with Mamba-2: Granite 4, with such layers and without; Nemotron-H and Nemotron 3.
#include <algorithm>

#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/layer_rules.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr uint32_t kContext = 1 << 20;  // what the converter writes: nothing but memory bounds it

enum class Kind : uint8_t { mamba, attention, mlp, experts };

int32_t kv_heads_of(const Config& config, Kind kind) {
  return kind == Kind::attention ? static_cast<int32_t>(config.kv_heads()) : 0;
}

struct MambaNames {
  const char *heads, *groups, *state, *window;  // in the config
};

struct MambaSizes {
  uint64_t width, heads, groups, state, window;
};

MambaSizes mamba_sizes(const Config& config, const MambaNames& names, uint64_t width) {
  const MambaSizes s{width, config.size(names.heads), config.size(names.groups), config.size(names.state),
                     config.size(names.window)};
  if (s.width % s.heads != 0)
    config.error(names.heads, fmt::format("is {}, which does not divide the {} channels", s.heads, s.width));
  if (s.heads % s.groups != 0 || s.width % s.groups != 0)
    config.error(names.groups, fmt::format("is {}, which does not divide the {} heads", s.groups, s.heads));
  return s;
}

void mamba_metadata(const MambaSizes& s, ModelMetadata& out) {
  out.size("ssm.conv_kernel", static_cast<uint32_t>(s.window));
  out.size("ssm.state_size", static_cast<uint32_t>(s.state));
  out.size("ssm.group_count", static_cast<uint32_t>(s.groups));
  out.size("ssm.inner_size", static_cast<uint32_t>(s.width));
  out.size("ssm.time_step_rank", static_cast<uint32_t>(s.heads));
}

void mamba_layer(LayerRules& layer, const std::string& from, uint64_t hidden, const MambaSizes& s) {
  const uint64_t channels = s.width + 2 * s.groups * s.state, rows = s.width + channels + s.heads;
  layer.linear(from + "in_proj", "ssm_in", rows, hidden);
  layer.bias(from + "in_proj", "ssm_in", rows);
  layer.rule(from + "conv1d.weight", "ssm_conv1d.weight", {channels, 1, s.window}).squeezed = true;
  layer.bias(from + "conv1d", "ssm_conv1d", channels);
  layer.rule(from + "dt_bias", "ssm_dt.bias", {s.heads});
  TensorRule& rate = layer.rule(from + "A_log", "ssm_a", {s.heads});
  rate.layout = Layout::minus_exp;
  rate.file_shape = {s.heads, 1};
  layer.rule(from + "D", "ssm_d", {s.heads}).file_shape = {s.heads, 1};
  layer.rule(from + "norm.weight", "ssm_norm.weight", {s.width}).file_shape = {s.groups, s.width / s.groups};
  layer.linear(from + "out_proj", "ssm_out", hidden, s.width);
  layer.bias(from + "out_proj", "ssm_out", hidden);
}

void attention_layer(LayerRules& layer, const std::string& from, const TensorPlan& plan) {
  const uint64_t query = plan.heads * plan.head_size, key = plan.kv_heads * plan.head_size;
  const auto turn = [&](TensorRule& rule, uint64_t heads) {
    rule.layout = Layout::neighbours;
    rule.heads = static_cast<uint32_t>(heads);
  };
  turn(layer.linear(from + "q_proj", "attn_q", query, plan.hidden), plan.heads);
  turn(layer.bias(from + "q_proj", "attn_q", query), plan.heads);
  turn(layer.linear(from + "k_proj", "attn_k", key, plan.hidden), plan.kv_heads);
  turn(layer.bias(from + "k_proj", "attn_k", key), plan.kv_heads);
  layer.linear(from + "v_proj", "attn_v", key, plan.hidden);
  layer.bias(from + "v_proj", "attn_v", key);
  layer.linear(from + "o_proj", "attn_output", plan.hidden, query);
  layer.bias(from + "o_proj", "attn_output", plan.hidden);
}

// --- Granite 4 ------------------------------------------------------------------------------------------

std::vector<Kind> granite_kinds(const Config& config) {
  const Json* types = config.find("layer_types");
  if (!types || !types->is_array() || types->size() != config.layers())
    config.error("layer_types", fmt::format("does not list {} layers", config.layers()));
  std::vector<Kind> kinds;
  for (const Json& type : *types) {
    const bool mamba = type == "mamba" || type == "linear_attention";
    if (!mamba && type != "attention" && type != "full_attention")
      fail(ErrorCode::unsupported,
           "{}: layer_types: layers of kind {} are not supported (mamba and attention are)", config.path(),
           quote(type.is_string() ? type.get<std::string>() : type.dump()));
    kinds.push_back(mamba ? Kind::mamba : Kind::attention);
  }
  return kinds;
}

bool has_mamba(const Config& config) {
  const std::vector<Kind> kinds = granite_kinds(config);
  return std::find(kinds.begin(), kinds.end(), Kind::mamba) != kinds.end();
}

bool is_mixture(const Config& config) {
  return config.find_integer("num_experts_per_tok").value_or(0) != 0;
}

MambaSizes granite_sizes(const Config& config) {
  return mamba_sizes(config, {"mamba_n_heads", "mamba_n_groups", "mamba_d_state", "mamba_d_conv"},
                     config.product("mamba_expand", "hidden_size"));
}

// The converter writes Mamba's sizes whether there are such layers or not.
void granite4_metadata(const Config& config, ModelMetadata& out) {
  granitemoe_metadata(config, out);
  mamba_metadata(granite_sizes(config), out);
  std::vector<int32_t> kv_heads;
  for (const Kind kind : granite_kinds(config)) kv_heads.push_back(kv_heads_of(config, kind));
  out.sizes("attention.head_count_kv", std::move(kv_heads));
  const bool mamba = has_mamba(config);
  out.flag("rope.scaling.finetuned", !mamba);
  if (mamba) out.size("context_length", kContext);
}

// Mamba's layers have no positions, and the attention beside them has none either.
void check_positions(const Config& config, bool rope) {
  const bool nope = config.text("position_embedding_type") == "nope";
  if (rope && nope)
    fail(ErrorCode::unsupported,
         "{}: position_embedding_type: attention layers alone without RoPE are not supported", config.path());
  if (!rope && config.find("position_embedding_type") && !nope)
    fail(ErrorCode::unsupported, "{}: position_embedding_type: Mamba's layers beside RoPE are not supported",
         config.path());
}

void granite4_tensors(TensorPlan& plan) {
  check_positions(plan.config(), true);
  granite_attention(plan);
  is_mixture(plan.config()) ? granite_experts(plan) : granite_shared_ffn(plan);
}

void granitehybrid_tensors(TensorPlan& plan) {
  const Config& config = plan.config();
  check_positions(config, false);
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
  const MambaSizes sizes = granite_sizes(config);
  const std::vector<Kind> kinds = granite_kinds(config);
  for (uint32_t i = 0; i < plan.layers; ++i) {
    LayerRules layer(plan, fmt::format("model.layers.{}.", i), i);
    if (kinds[i] == Kind::mamba) {
      mamba_layer(layer, "mamba.", plan.hidden, sizes);
    } else {
      attention_layer(layer, "self_attn.", plan);
    }
  }
  is_mixture(config) ? granite_experts(plan) : granite_shared_ffn(plan);
}

// --- nemotron_h -----------------------------------------------------------------------------------------

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
  out.size("context_length", kContext);
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

void add_mamba_families(std::vector<Family>& out) {
  const std::vector<std::string_view> granite = {"GraniteMoeHybridForCausalLM"},
                                      nemotron = {"NemotronHForCausalLM"};
  const auto add = [&](std::string_view architecture, const auto& classes, auto metadata, auto tensors,
                       auto fits) {
    out.push_back({architecture, classes, metadata, any_vocabulary, tensors, nullptr, true, fits});
  };
  add("granitehybrid", granite, granite4_metadata, granitehybrid_tensors, has_mamba);
  add("granitemoe", granite, granite4_metadata, granite4_tensors, is_mixture);
  add("granite", granite, granite4_metadata, granite4_tensors,
      [](const Config& config) { return !is_mixture(config); });
  add("nemotron_h_moe", nemotron, nemotron_metadata, nemotron_tensors,
      [](const Config& config) { return has_kind(config, Kind::experts); });
  add("nemotron_h", nemotron, nemotron_metadata, nemotron_tensors,
      [](const Config& config) { return !has_kind(config, Kind::experts); });
}

}  // namespace cairn::convert
