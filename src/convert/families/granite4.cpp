// Granite 4: with Mamba-2 and without, dense and with experts.
#include <algorithm>

#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/mamba_layers.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

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
  if (mamba) out.size("context_length", kMambaContext);
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

}  // namespace

void add_granite4_families(std::vector<Family>& out) {
  const auto add = [&](std::string_view architecture, auto tensors, auto fits) {
    out.push_back({architecture,
                   {"GraniteMoeHybridForCausalLM"},
                   granite4_metadata,
                   any_vocabulary,
                   tensors,
                   nullptr,
                   true,
                   fits});
  };
  add("granitehybrid", granitehybrid_tensors, has_mamba);
  add("granitemoe", granite4_tensors, is_mixture);
  add("granite", granite4_tensors, [](const Config& config) { return !is_mixture(config); });
}

}  // namespace cairn::convert
