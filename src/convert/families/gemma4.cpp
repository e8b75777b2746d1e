// Gemma 4 (text): what its layers differ in, its experts, and RoPE's divisors.
#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

std::vector<bool> local_layers(const Config& config) {
  const auto layers = config.sliding_layers();
  if (!layers) config.error("layer_types", "is missing");
  return *layers;
}

// A setting of global layers: under a name of its own, or, as transformers 5 writes it, layer by layer.
std::optional<uint32_t> of_global_layers(const Config& config, std::string_view name, const char* key) {
  if (config.find(name)) return config.size(name);
  const Json* layers = config.find("per_layer_config");
  if (!layers || !layers->is_object()) return std::nullopt;
  const std::vector<bool> local = local_layers(config);
  for (size_t i = 0; i < local.size(); ++i) {
    const Json* layer = local[i] ? nullptr : member(*layers, std::to_string(i));
    const Json* value = layer ? member(*layer, key) : nullptr;
    constexpr uint64_t kMost = 1U << 24;
    if (value) return static_cast<uint32_t>(whole_number(*value, kMost, config.path(), key));
  }
  return std::nullopt;
}

struct Sizes {
  explicit Sizes(const Config& config)
      : local(local_layers(config)),
        head(config.head_size()),
        kv_heads(config.kv_heads()),
        global_kv_heads(of_global_layers(config, "num_global_key_value_heads", "num_key_value_heads")),
        shared(config.integer("num_kv_shared_layers")),
        wide(config.flag("use_double_wide_mlp", false)),
        keys_are_values(config.flag("attention_k_eq_v", false)) {
    const auto found = of_global_layers(config, "global_head_dim", "head_dim");
    if (!found || *found == 0 || *found % 2 != 0) config.error("global_head_dim", "is missing or odd");
    global_head = *found;
    if (shared >= local.size())
      config.error("num_kv_shared_layers",
                   fmt::format("is {}, but there are {} layers", shared, local.size()));
    const uint32_t count = expert_count(config).value_or(0);
    if (config.flag("enable_moe_block", false) != (count != 0))
      config.error("num_experts", fmt::format("is {}, against what enable_moe_block says", count));
    experts = count;
    if (experts != 0) expert_ffn = config.size("moe_intermediate_size");
  }
  bool own_keys(size_t layer) const { return layer < local.size() - shared; }
  bool is_wide(size_t layer) const { return wide && !own_keys(layer); }

  std::vector<bool> local;
  uint32_t head, kv_heads, global_head = 0;
  std::optional<uint32_t> global_kv_heads;
  uint32_t shared;
  bool wide, keys_are_values;
  uint64_t experts = 0, expert_ffn = 0;
};

// Local and global layers each have their own: config.rope() and local_rope_theta() are these then.
void need_both_ropes(const Config& config) {
  const Json* all = config.find("rope_parameters");
  for (const char* kind : {"full_attention", "sliding_attention"}) {
    const Json* part = all ? member(*all, kind) : nullptr;
    if (!part || !member(*part, "rope_theta"))
      config.error("rope_parameters", fmt::format("has no rope_theta of {}", kind));
  }
}

void gemma4_metadata(const Config& config, ModelMetadata& out) {
  const Sizes sizes(config);
  const auto layers = static_cast<uint32_t>(sizes.local.size());
  out.size("block_count", layers);
  out.size("context_length", config.integer("max_position_embeddings"));
  out.size("embedding_length", config.size("hidden_size"));
  out.size("attention.head_count", config.heads());
  out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps"));
  need_both_ropes(config);
  out.number("rope.freq_base", config.need_rope_number("rope_theta"));
  out.number("rope.freq_base_swa", config.local_rope_theta().value());
  if (config.find("final_logit_softcapping") && config.number("final_logit_softcapping") != 0)
    out.number("final_logit_softcapping", config.number("final_logit_softcapping"));
  out.size("attention.sliding_window", config.size("sliding_window"));
  out.size("attention.shared_kv_layers", sizes.shared);
  out.size("embedding_length_per_layer_input",
           config.find_integer("hidden_size_per_layer_input").value_or(0));
  out.flags("attention.sliding_window_pattern", sizes.local);
  out.size("attention.key_length", sizes.global_head);
  out.size("attention.value_length", sizes.global_head);
  out.size("attention.key_length_swa", sizes.head);
  out.size("attention.value_length_swa", sizes.head);
  out.size("rope.dimension_count", sizes.global_head);
  out.size("rope.dimension_count_swa", sizes.head);
  if (sizes.experts != 0) {
    out.size("expert_count", static_cast<uint32_t>(sizes.experts));
    out.size("expert_used_count", experts_used(config));
    out.size("expert_feed_forward_length", static_cast<uint32_t>(sizes.expert_ffn));
  }
  const uint32_t ffn = config.size("intermediate_size");
  out.size("feed_forward_length", ffn);
  out.size("attention.head_count_kv", sizes.kv_heads);
  std::vector<int32_t> widths, heads;
  for (uint32_t i = 0; i < layers; ++i) {
    widths.push_back(static_cast<int32_t>(sizes.is_wide(i) ? 2 * ffn : ffn));
    const uint32_t kv = sizes.local[i] ? sizes.kv_heads : sizes.global_kv_heads.value_or(sizes.kv_heads);
    heads.push_back(static_cast<int32_t>(kv));
  }
  const std::string prefix = "gemma4.";
  if (sizes.wide) out.all().set(prefix + "feed_forward_length", std::move(widths));
  if (sizes.global_kv_heads) out.all().set(prefix + "attention.head_count_kv", std::move(heads));
}

// Only the first pairs of a head turn: the others are divided by so much that they stand still.
std::vector<DerivedTensor> gemma4_derived(const Config& config, ModelMetadata&) {
  constexpr float kNever = 1e30F;
  need_both_ropes(config);
  if (config.rope_type() != "proportional")
    fail(ErrorCode::unsupported, "{}: RoPE {} of global layers is not supported ('proportional' is)",
         config.path(), quote(config.rope_type()));
  config.need_rope_number("partial_rotary_factor");
  const double turned = config.rope_part(1);
  const uint32_t size = Sizes(config).global_head;
  DerivedTensor out{"rope_freqs.weight", {}};
  const auto pairs = static_cast<uint32_t>(size * turned / 2);
  for (uint32_t i = 0; i < size / 2; ++i) out.values.push_back(i < pairs ? 1.0F : kNever);
  return {out};
}

void layer_tensors(TensorPlan& plan, const Sizes& sizes, uint32_t i, uint32_t layer_width) {
  const std::string from = fmt::format("model.layers.{}.", i), to = fmt::format("blk.{}.", i);
  const auto add = [&](const char* source, const char* target, std::vector<uint64_t> shape,
                       bool optional = false) {
    plan.add({from + source + ".weight", to + target + ".weight", std::move(shape), Layout::plain, 0,
              optional, optional});
  };
  const uint64_t head = sizes.local[i] ? sizes.head : sizes.global_head;
  const uint64_t kv =
      head * (sizes.local[i] ? sizes.kv_heads : sizes.global_kv_heads.value_or(sizes.kv_heads));
  const uint64_t query = plan.heads * head, ffn = sizes.is_wide(i) ? 2 * plan.ffn : plan.ffn;
  add("input_layernorm", "attn_norm", {plan.hidden});
  add("self_attn.q_proj", "attn_q", {query, plan.hidden});
  add("self_attn.q_norm", "attn_q_norm", {head});
  const bool shared = !sizes.own_keys(i);  // older checkpoints have these all the same
  add("self_attn.k_proj", "attn_k", {kv, plan.hidden}, shared);
  add("self_attn.k_norm", "attn_k_norm", {head}, shared);
  if (!sizes.keys_are_values || sizes.local[i]) add("self_attn.v_proj", "attn_v", {kv, plan.hidden}, shared);
  add("self_attn.o_proj", "attn_output", {plan.hidden, query});
  add("post_attention_layernorm", "post_attention_norm", {plan.hidden});
  add("pre_feedforward_layernorm", "ffn_norm", {plan.hidden});
  add("mlp.gate_proj", "ffn_gate", {ffn, plan.hidden});
  add("mlp.up_proj", "ffn_up", {ffn, plan.hidden});
  add("mlp.down_proj", "ffn_down", {plan.hidden, ffn});
  add("post_feedforward_layernorm", "post_ffw_norm", {plan.hidden});
  plan.add({from + "layer_scalar", to + "layer_output_scale.weight", {1}});
  if (sizes.experts != 0) {
    const uint64_t width = sizes.expert_ffn;
    add("post_feedforward_layernorm_1", "post_ffw_norm_1", {plan.hidden});
    add("post_feedforward_layernorm_2", "post_ffw_norm_2", {plan.hidden});
    add("pre_feedforward_layernorm_2", "pre_ffw_norm_2", {plan.hidden});
    add("router.proj", "ffn_gate_inp", {sizes.experts, plan.hidden});
    plan.add({from + "router.scale", to + "ffn_gate_inp.scale", {plan.hidden}});
    plan.add({from + "router.per_expert_scale", to + "ffn_down_exps.scale", {sizes.experts}});
    plan.add({from + "experts.gate_up_proj",
              to + "ffn_gate_up_exps.weight",
              {sizes.experts, 2 * width, plan.hidden}});
    plan.add({from + "experts.down_proj", to + "ffn_down_exps.weight", {sizes.experts, plan.hidden, width}});
  }
  if (layer_width == 0) return;
  add("per_layer_input_gate", "inp_gate", {layer_width, plan.hidden});
  add("per_layer_projection", "proj", {plan.hidden, layer_width});
  add("post_per_layer_input_norm", "post_norm", {plan.hidden});
}

void gemma4_tensors(TensorPlan& plan) {
  const Sizes sizes(plan.config());
  const uint32_t width = plan.config().find_integer("hidden_size_per_layer_input").value_or(0);
  plan.experts = sizes.experts;
  plan.outer();
  if (width != 0) {
    const uint64_t all = uint64_t{width} * plan.layers;
    plan.add({"model.embed_tokens_per_layer.weight",
              "per_layer_token_embd.weight",
              {plan.config().size("vocab_size_per_layer_input"), all}});
    plan.add({"model.per_layer_model_projection.weight", "per_layer_model_proj.weight", {all, plan.hidden}});
    plan.add({"model.per_layer_projection_norm.weight", "per_layer_proj_norm.weight", {width}});
  }
  for (uint32_t i = 0; i < plan.layers; ++i) layer_tensors(plan, sizes, i, width);
}

}  // namespace

void add_gemma4_families(std::vector<Family>& out) {
  out.push_back({"gemma4",
                 {"Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"},
                 gemma4_metadata,
                 gemma4_vocabulary,
                 gemma4_tensors,
                 gemma4_derived,
                 true});
}

}  // namespace cairn::convert
