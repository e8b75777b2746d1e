// Families with a recurrent state: LFM2; Qwen 3.5, its mixtures, and the layer with which they draft.
#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/layer_rules.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// Which layers are of the kind that layer_types names; others are of the family's other kind.
std::vector<bool> layers_of(const Config& config, const char* kind, const char* other) {
  const Json* types = config.find("layer_types");
  const uint32_t count = config.layers();
  if (!types || !types->is_array() || types->size() != count)
    config.error("layer_types", fmt::format("does not list {} layers", count));
  std::vector<bool> out;
  for (const Json& type : *types) {
    if (type != kind && type != other)
      config.error("layer_types", fmt::format("has {}, expected {} or {}", quote(type.dump()), kind, other));
    out.push_back(type == kind);
  }
  return out;
}

// --- lfm2 -----------------------------------------------------------------------------------------------

std::vector<bool> convolutions(const Config& config) {
  if (const Json* with = config.find("full_attn_idxs"); with && !config.find("layer_types")) {
    std::vector<bool> out(config.layers(), true);
    if (!with->is_array()) config.error("full_attn_idxs", "is no list");
    for (const Json& index : *with)
      out[whole_number(index, out.size() - 1, config.path(), "full_attn_idxs")] = false;
    return out;
  }
  return layers_of(config, "conv", "full_attention");
}

uint64_t lfm2_ffn(const Config& config) {
  const char* key = config.find("block_ff_dim") ? "block_ff_dim" : "intermediate_size";
  const uint64_t width = config.size(key);
  if (!config.flag("block_auto_adjust_ff_dim", true)) return width;
  const double factor =
      config.find("block_ffn_dim_multiplier") ? config.number("block_ffn_dim_multiplier") : 1;
  const double scaled = factor * static_cast<double>(2 * width / 3);
  if (!(scaled >= 1 && scaled < 1 << 24)) config.error("block_ffn_dim_multiplier", "is of no use");
  const uint64_t step = config.size("block_multiple_of");
  return (static_cast<uint64_t>(scaled) + step - 1) / step * step;
}

void lfm2_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  std::vector<int32_t> kv_heads;
  for (const bool conv : convolutions(config))
    kv_heads.push_back(conv ? 0 : static_cast<int32_t>(config.kv_heads()));
  out.sizes("attention.head_count_kv", std::move(kv_heads));
  out.size("vocab_size", config.size("vocab_size"));
  out.size("shortconv.l_cache", config.size("conv_L_cache"));
  out.number("attention.layer_norm_rms_epsilon", config.number("norm_eps"));
  out.size("feed_forward_length", static_cast<uint32_t>(lfm2_ffn(config)));
}

void lfm2_tensors(TensorPlan& plan) {
  const Config& config = plan.config();
  const uint64_t hidden = plan.hidden, ffn = lfm2_ffn(config), query = plan.heads * plan.head_size,
                 key = plan.kv_heads * plan.head_size;
  plan.outer("embedding_norm", "token_embd_norm");
  const std::vector<bool> conv = convolutions(config);
  for (uint32_t i = 0; i < plan.layers; ++i) {
    LayerRules layer(plan, fmt::format("model.layers.{}.", i), i);
    layer.norm("operator_norm", "attn_norm", hidden, false);
    layer.norm("ffn_norm", "ffn_norm", hidden, false);
    layer.linear("feed_forward.w1", "ffn_gate", ffn, hidden);
    layer.linear("feed_forward.w2", "ffn_down", hidden, ffn);
    layer.linear("feed_forward.w3", "ffn_up", ffn, hidden);
    if (conv[i]) {
      layer.linear("conv.in_proj", "shortconv.in_proj", 3 * hidden, hidden);
      layer.linear("conv.out_proj", "shortconv.out_proj", hidden, hidden);
      layer.rule("conv.conv.weight", "shortconv.conv.weight", {hidden, 1, config.size("conv_L_cache")})
          .squeezed = true;
      continue;
    }
    layer.linear("self_attn.q_proj", "attn_q", query, hidden);
    layer.linear("self_attn.k_proj", "attn_k", key, hidden);
    layer.linear("self_attn.v_proj", "attn_v", key, hidden);
    layer.linear("self_attn.out_proj", "attn_output", hidden, query);
    layer.norm("self_attn.q_layernorm", "attn_q_norm", plan.head_size, false);
    layer.norm("self_attn.k_layernorm", "attn_k_norm", plan.head_size, false);
  }
}

// --- qwen35 ---------------------------------------------------------------------------------------------

uint32_t draft_layers(const Config& config) {
  return config.find_integer("mtp_num_hidden_layers").value_or(0);
}

void qwen35_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  const uint32_t drafts = draft_layers(config);
  out.size("block_count", config.layers() + drafts);
  if (drafts > 0) out.size("nextn_predict_layers", drafts);
  out.sizes("rope.dimension_sections", config.rope_sections().value_or(std::vector<int32_t>{11, 11, 10, 0}));
  out.size("rope.dimension_count", static_cast<uint32_t>(config.head_size() * config.rope_part(0.25)));
  if (config.find("layer_types")) {
    std::vector<bool> recurrent = layers_of(config, "linear_attention", "full_attention");
    recurrent.resize(recurrent.size() + drafts);
    out.flags("attention.recurrent_layers", std::move(recurrent));
  }
  out.size("full_attention_interval", config.find_integer("full_attention_interval").value_or(4));
  out.size("ssm.conv_kernel", config.size("linear_conv_kernel_dim"));
  out.size("ssm.state_size", config.size("linear_key_head_dim"));
  out.size("ssm.group_count", config.size("linear_num_key_heads"));
  out.size("ssm.time_step_rank", config.size("linear_num_value_heads"));
  out.size("ssm.inner_size", config.product("linear_value_head_dim", "linear_num_value_heads"));
  if (!expert_count(config)) return;
  out.size("expert_feed_forward_length", config.size("moe_intermediate_size"));
  out.size("expert_shared_feed_forward_length", config.size("shared_expert_intermediate_size"));
}

void attention(LayerRules& layer, const TensorPlan& plan) {
  const uint64_t query = plan.heads * plan.head_size, key = plan.kv_heads * plan.head_size;
  layer.linear("self_attn.q_proj", "attn_q", 2 * query, plan.hidden);
  layer.linear("self_attn.k_proj", "attn_k", key, plan.hidden);
  layer.linear("self_attn.v_proj", "attn_v", key, plan.hidden);
  layer.linear("self_attn.o_proj", "attn_output", plan.hidden, query);
  layer.norm("self_attn.q_norm", "attn_q_norm", plan.head_size);
  layer.norm("self_attn.k_norm", "attn_k_norm", plan.head_size);
}

// Value heads stand in groups, those of a key head together; in the file they take turns of all key heads.
void delta_net(LayerRules& layer, const TensorPlan& plan) {
  const Config& config = plan.config();
  const uint64_t keys = config.size("linear_num_key_heads"), heads = config.size("linear_num_value_heads"),
                 size = config.size("linear_value_head_dim");
  if (heads % keys != 0)
    config.error("linear_num_value_heads",
                 fmt::format("is {}, no multiple of the {} key heads", heads, keys));
  const uint64_t before = 2 * keys * config.size("linear_key_head_dim"), width = heads * size;
  const auto turns = [&](TensorRule& rule, uint64_t first, uint64_t rows) -> TensorRule& {
    rule.turns = {first, keys, heads / keys, rows, false};
    return rule;
  };
  turns(layer.linear("linear_attn.in_proj_qkv", "attn_qkv", before + width, plan.hidden), before, size);
  turns(layer.linear("linear_attn.in_proj_z", "attn_gate", width, plan.hidden), 0, size);
  turns(layer.linear("linear_attn.in_proj_a", "ssm_alpha", heads, plan.hidden), 0, 1);
  turns(layer.linear("linear_attn.in_proj_b", "ssm_beta", heads, plan.hidden), 0, 1);
  turns(layer.rule("linear_attn.conv1d.weight", "ssm_conv1d.weight",
                   {before + width, 1, config.size("linear_conv_kernel_dim")}),
        before, size)
      .squeezed = true;
  turns(layer.rule("linear_attn.A_log", "ssm_a", {heads}), 0, 1).layout = Layout::minus_exp;
  turns(layer.rule("linear_attn.dt_bias", "ssm_dt.bias", {heads}), 0, 1);
  layer.norm("linear_attn.norm", "ssm_norm", size, false);
  turns(layer.linear("linear_attn.out_proj", "ssm_out", plan.hidden, width), 0, size).turns.columns = true;
}

void ffn(LayerRules& layer, const TensorPlan& plan) {
  const Config& config = plan.config();
  if (plan.experts == 0) {
    layer.linear("mlp.gate_proj", "ffn_gate", plan.ffn, plan.hidden);
    layer.linear("mlp.up_proj", "ffn_up", plan.ffn, plan.hidden);
    layer.linear("mlp.down_proj", "ffn_down", plan.hidden, plan.ffn);
    return;
  }
  const uint64_t width = config.size("moe_intermediate_size"),
                 shared = config.size("shared_expert_intermediate_size");
  layer.linear("mlp.gate", "ffn_gate_inp", plan.experts, plan.hidden);
  const auto half = [&](const char* to, Outputs outputs) {
    layer.rule("mlp.experts.gate_up_proj", to, {plan.experts, 2 * width, plan.hidden}).outputs = outputs;
  };
  half("ffn_gate_exps.weight", Outputs::first_half);
  half("ffn_up_exps.weight", Outputs::second_half);
  layer.rule("mlp.experts.down_proj", "ffn_down_exps.weight", {plan.experts, plan.hidden, width});
  layer.linear("mlp.shared_expert.gate_proj", "ffn_gate_shexp", shared, plan.hidden);
  layer.linear("mlp.shared_expert.up_proj", "ffn_up_shexp", shared, plan.hidden);
  layer.linear("mlp.shared_expert.down_proj", "ffn_down_shexp", plan.hidden, shared);
  layer.linear("mlp.shared_expert_gate", "ffn_gate_inp_shexp", 1, plan.hidden);
}

void drafting_layer(TensorPlan& plan, uint32_t index) {
  LayerRules layer(plan, fmt::format("mtp.layers.{}.", index), plan.layers + index);
  layer.norm("input_layernorm", "attn_norm", plan.hidden);
  layer.norm("post_attention_layernorm", "post_attention_norm", plan.hidden);
  attention(layer, plan);
  ffn(layer, plan);
  if (index > 0) return;
  LayerRules around(plan, "mtp.", plan.layers);
  around.linear("fc", "nextn.eh_proj", plan.hidden, 2 * plan.hidden);
  around.norm("pre_fc_norm_embedding", "nextn.enorm", plan.hidden);
  around.norm("pre_fc_norm_hidden", "nextn.hnorm", plan.hidden);
  around.norm("norm", "nextn.shared_head_norm", plan.hidden);
}

void qwen35_tensors(TensorPlan& plan) {
  const Config& config = plan.config();
  const uint32_t drafts = draft_layers(config);
  if (drafts > plan.layers)
    config.error("mtp_num_hidden_layers",
                 fmt::format("is {}, more than the model's own {}", drafts, plan.layers));
  plan.norms_plus_one = true;
  plan.outer();
  std::vector<bool> recurrent;
  if (config.find("layer_types")) recurrent = layers_of(config, "linear_attention", "full_attention");
  const uint32_t interval = config.find_integer("full_attention_interval").value_or(4);
  if (interval == 0) config.error("full_attention_interval", "is 0");
  for (uint32_t i = 0; i < plan.layers; ++i) {
    LayerRules layer(plan, fmt::format("model.layers.{}.", i), i);
    layer.norm("input_layernorm", "attn_norm", plan.hidden);
    layer.norm("post_attention_layernorm", "post_attention_norm", plan.hidden);
    if (recurrent.empty() ? (i + 1) % interval != 0 : recurrent[i]) {
      delta_net(layer, plan);
    } else {
      attention(layer, plan);
    }
    ffn(layer, plan);
  }
  for (uint32_t i = 0; i < drafts; ++i) drafting_layer(plan, i);
}

void qwen35moe_tensors(TensorPlan& plan) {
  plan.experts = need_experts(plan.config());
  qwen35_tensors(plan);
}

}  // namespace

void add_recurrent_families(std::vector<Family>& out) {
  out.push_back(
      {"lfm2", {"Lfm2ForCausalLM", "LFM2ForCausalLM"}, lfm2_metadata, any_vocabulary, lfm2_tensors});
  out.push_back({"qwen35",
                 {"Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"},
                 qwen35_metadata,
                 any_vocabulary,
                 qwen35_tensors});
  out.push_back({"qwen35moe",
                 {"Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"},
                 qwen35_metadata,
                 any_vocabulary,
                 qwen35moe_tensors,
                 nullptr,
                 true});
}

}  // namespace cairn::convert
