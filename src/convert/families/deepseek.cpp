// Multi-head latent attention: DeepSeek V2, V3, R1; GLM-4.7-Flash, with the layer that predicts further
// tokens.
#include <charconv>

#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr std::string_view kLayers = "model.layers.";

bool is_v2(const Config& config) {
  return config.architecture() == "DeepseekV2ForCausalLM";
}

// GLM's converter writes its layers that predict further tokens, DeepSeek's leaves them out.
uint32_t draft_layers(const Config& config) {
  const bool writes = config.architecture() == "Glm4MoeLiteForCausalLM";
  return writes ? config.find_integer("num_nextn_predict_layers").value_or(0) : 0;
}

struct Sizes {
  explicit Sizes(const Config& config)
      : rank(config.size("kv_lora_rank")),
        query_rank(config.find("q_lora_rank") ? config.size("q_lora_rank") : 0),
        plain(config.size("qk_nope_head_dim")),
        turned(config.size("qk_rope_head_dim")),
        value(config.size("v_head_dim")),
        drafts(draft_layers(config)),
        dense(config.layers()) {
    experts = expert_count(config).value_or(0);
    if (experts != 0) dense = config.find_integer("first_k_dense_replace").value_or(0);
    if (dense > config.layers() || drafts > config.layers())
      config.error(dense > config.layers() ? "first_k_dense_replace" : "num_nextn_predict_layers",
                   fmt::format("is more than the {} layers", config.layers()));
    shared = config.find_integer("n_shared_experts").value_or(0);
  }
  bool has_experts(uint32_t layer) const { return experts != 0 && layer >= dense; }

  uint64_t rank, query_rank, plain, turned, value;
  uint32_t drafts, dense;
  uint64_t experts, shared;
};

// What files cannot say, or the converter writes wrong.
void refuse_others(const Config& config, const Sizes& sizes) {
  const auto refuse = [&](const char* key, const std::string& what) {
    fail(ErrorCode::unsupported, "{}: {} {} is not supported", config.path(), key, what);
  };
  if (config.flag("attention_bias", false)) refuse("attention_bias", "true");
  if (config.flag("mlp_bias", false)) refuse("mlp_bias", "true");
  if (!config.flag("rope_interleave", true)) refuse("rope_interleave", "false");
  if (config.find_integer("moe_layer_freq").value_or(1) != 1) refuse("moe_layer_freq", "of more than 1");
  const auto all = config.rope_number("mscale_all_dim"), own = config.rope_number("mscale");
  if (config.rope_type() == "yarn" && all.value_or(0) != 0 && own.value_or(1) != *all)
    refuse("mscale", fmt::format("{} beside an mscale_all_dim of {}", own.value_or(1), *all));
  if (sizes.experts == 0) return;
  const uint32_t groups = config.find_integer("n_group").value_or(1);
  const std::string method = config.text("topk_method");
  const bool known = is_v2(config) ? method == (groups > 1 ? "group_limited_greedy" : method)
                                   : method.empty() || method == "noaux_tc";
  if (!known || (is_v2(config) && method == "noaux_tc"))
    refuse("topk_method", fmt::format("{} with {} groups", quote(method), groups));
  if (is_v2(config) && config.flag("norm_topk_prob", false)) refuse("norm_topk_prob", "true of DeepSeek V2");
  const std::string scores = config.text("scoring_func");
  if (!scores.empty() && scores != (is_v2(config) ? "softmax" : "sigmoid"))
    refuse("scoring_func", quote(scores));
  if (groups > 1 && sizes.experts % groups != 0)
    config.error("n_group", fmt::format("is {}, which does not divide {} experts", groups, sizes.experts));
  if (config.architecture() != "Glm4MoeLiteForCausalLM") return;
  if (!config.find("first_k_dense_replace"))
    config.error("first_k_dense_replace", "is missing: files would say that all layers have experts");
  const Json* types = config.find("mlp_layer_types");
  for (uint32_t i = 0; types != nullptr && i < config.layers(); ++i) {
    if (!types->is_array() || types->size() != config.layers() ||
        (*types)[i] != (i < sizes.dense ? "dense" : "sparse"))
      config.error("mlp_layer_types", fmt::format("is not {} dense layers and sparse ones", sizes.dense));
  }
}

void metadata(const Config& config, ModelMetadata& out) {
  const Sizes sizes(config);
  common_metadata(config, out);
  out.size("block_count", config.layers() + sizes.drafts);
  out.size("attention.head_count_kv", 1);
  const auto copy = [&](const char* key, const char* name) {
    if (const auto value = config.find_integer(name)) out.size(key, *value);
  };
  copy("expert_group_count", "n_group");
  copy("expert_group_used_count", "topk_group");
  constexpr uint32_t kSoftmax = 1, kSigmoid = 2;
  if (!config.text("scoring_func").empty())
    out.size("expert_gating_func", config.text("scoring_func") == "sigmoid" ? kSigmoid : kSoftmax);
  out.size("leading_dense_block_count", sizes.dense);
  out.size("vocab_size", config.size("vocab_size"));
  if (sizes.query_rank != 0) out.size("attention.q_lora_rank", config.size("q_lora_rank"));
  const auto size = [&](const char* key, uint64_t value) { out.size(key, static_cast<uint32_t>(value)); };
  size("attention.kv_lora_rank", sizes.rank);
  size("attention.key_length", sizes.rank + sizes.turned);
  size("attention.value_length", sizes.rank);
  size("attention.key_length_mla", sizes.plain + sizes.turned);
  size("attention.value_length_mla", sizes.value);
  out.size("expert_feed_forward_length",
           config.size(config.find("moe_intermediate_size") ? "moe_intermediate_size" : "intermediate_size"));
  size("expert_shared_count", sizes.shared);
  if (config.find("routed_scaling_factor"))
    out.number("expert_weights_scale", config.number("routed_scaling_factor"));
  if (config.flag("norm_topk_prob", false)) out.flag("expert_weights_norm", true);
  size("rope.dimension_count", sizes.turned);
  if (const auto all = config.rope_number("mscale_all_dim"))
    out.number("rope.scaling.yarn_log_multiplier", 0.1 * *all);
  if (sizes.drafts != 0) out.size("nextn_predict_layers", sizes.drafts);
}

// One layer's tensors; those of layers that predict further tokens may all be missing.
class LayerRules {
 public:
  LayerRules(TensorPlan& plan, const Sizes& sizes, uint32_t layer)
      : plan_(plan), sizes_(sizes), layer_(layer), drafts_(layer >= plan.layers) {}

  void add() {
    weight("input_layernorm", "attn_norm", {plan_.hidden});
    weight("post_attention_layernorm", "ffn_norm", {plan_.hidden});
    attention();
    if (sizes_.has_experts(layer_)) {
      experts();
    } else {
      ffn("mlp.", "", plan_.ffn);
    }
    if (!drafts_) return;
    weight("enorm", "nextn.enorm", {plan_.hidden});
    weight("hnorm", "nextn.hnorm", {plan_.hidden});
    weight("eh_proj", "nextn.eh_proj", {plan_.hidden, 2 * plan_.hidden});
    weight("embed_tokens", "nextn.embed_tokens", {plan_.vocabulary, plan_.hidden});
    weight("shared_head.norm", "nextn.shared_head_norm", {plan_.hidden});
    weight("shared_head.head", "nextn.shared_head_head", {plan_.vocabulary, plan_.hidden});
  }

 private:
  TensorRule& rule(const std::string& from, const std::string& to, std::vector<uint64_t> shape) {
    TensorRule rule;
    rule.from = fmt::format("{}{}.{}", kLayers, layer_, from);
    rule.to = fmt::format("blk.{}.{}", layer_, to);
    rule.shape = std::move(shape);
    rule.optional = rule.single = drafts_;
    return plan_.add(std::move(rule));
  }
  TensorRule& weight(const std::string& from, const std::string& to, std::vector<uint64_t> shape) {
    return rule(from + ".weight", to + ".weight", std::move(shape));
  }

  void attention() {
    const uint64_t heads = plan_.heads, query = heads * (sizes_.plain + sizes_.turned);
    const auto linear = [&](const char* from, const char* to, uint64_t rows, uint64_t columns) {
      weight(std::string("self_attn.") + from, to, {rows, columns});
    };
    if (sizes_.query_rank == 0) {
      linear("q_proj", "attn_q", query, plan_.hidden);
    } else {
      linear("q_a_proj", "attn_q_a", sizes_.query_rank, plan_.hidden);
      weight("self_attn.q_a_layernorm", "attn_q_a_norm", {sizes_.query_rank});
      linear("q_b_proj", "attn_q_b", query, sizes_.query_rank);
    }
    linear("kv_a_proj_with_mqa", "attn_kv_a_mqa", sizes_.rank + sizes_.turned, plan_.hidden);
    weight("self_attn.kv_a_layernorm", "attn_kv_a_norm", {sizes_.rank});
    const auto part = [&](const char* to, Layout layout, uint64_t first, uint64_t rows) {
      TensorRule& rule =
          weight("self_attn.kv_b_proj", to, {heads * (sizes_.plain + sizes_.value), sizes_.rank});
      rule.layout = layout;
      rule.heads = static_cast<uint32_t>(heads);
      rule.head_first = first;
      rule.head_rows = rows;
    };
    part("attn_k_b", Layout::head_columns, 0, sizes_.plain);
    part("attn_v_b", Layout::head_rows, sizes_.plain, sizes_.value);
    linear("o_proj", "attn_output", plan_.hidden, heads * sizes_.value);
  }

  void ffn(const std::string& from, const std::string& kind, uint64_t width) {
    weight(from + "gate_proj", "ffn_gate" + kind, {width, plan_.hidden});
    weight(from + "up_proj", "ffn_up" + kind, {width, plan_.hidden});
    weight(from + "down_proj", "ffn_down" + kind, {plan_.hidden, width});
  }

  void experts() {
    const Config& config = plan_.config();
    const uint64_t width = config.size("moe_intermediate_size");
    weight("mlp.gate", "ffn_gate_inp", {sizes_.experts, plan_.hidden});
    if (!is_v2(config)) rule("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", {sizes_.experts});
    for (uint32_t i = 0; i < sizes_.experts; ++i) {
      const auto matrix = [&](const char* part, const char* to, uint64_t rows, uint64_t columns) {
        TensorRule& rule = weight(fmt::format("mlp.experts.{}.{}", i, part), to, {rows, columns});
        rule.experts = static_cast<uint32_t>(sizes_.experts);
        rule.expert = i;
      };
      matrix("gate_proj", "ffn_gate_exps", width, plan_.hidden);
      matrix("up_proj", "ffn_up_exps", width, plan_.hidden);
      matrix("down_proj", "ffn_down_exps", plan_.hidden, width);
    }
    if (sizes_.shared != 0) ffn("mlp.shared_experts.", "_shexp", sizes_.shared * width);
  }

  TensorPlan& plan_;
  const Sizes& sizes_;
  const uint32_t layer_;
  const bool drafts_;
};

void tensors(TensorPlan& plan) {
  constexpr uint64_t kMostMatrices = uint64_t{1} << 18;
  const Sizes sizes(plan.config());
  refuse_others(plan.config(), sizes);
  plan.experts = sizes.experts;
  const uint32_t layers = plan.layers + sizes.drafts;
  if (layers * sizes.experts > kMostMatrices)
    plan.config().error("n_routed_experts",
                        fmt::format("is {} in {} layers, more than any model has", sizes.experts, layers));
  plan.outer();
  for (uint32_t i = 0; i < layers; ++i) LayerRules(plan, sizes, i).add();
  plan.rename = [layers](std::string name) {
    uint32_t layer = 0;
    if (name.starts_with(kLayers))
      std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
    return layer < layers ? name : std::string();
  };
}

}  // namespace

void add_deepseek_families(std::vector<Family>& out) {
  constexpr auto kMixture = true;
  out.push_back({"deepseek2",
                 {"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"},
                 metadata,
                 bpe_vocabulary,
                 tensors,
                 nullptr,
                 kMixture});
  out.push_back(
      {"deepseek2", {"Glm4MoeLiteForCausalLM"}, metadata, glm4_moe_vocabulary, tensors, nullptr, kMixture});
}

}  // namespace cairn::convert
