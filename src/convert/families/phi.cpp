#include <cmath>

#include "base/error.hpp"
#include "convert/families.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// RoPE turns a part of each head.
uint32_t rope_size(const Config& config, double otherwise) {
  return static_cast<uint32_t>(config.rope_part(otherwise) * config.size("hidden_size")) / config.heads();
}

void phi2_metadata(const Config& config, ModelMetadata& out) {
  const uint32_t width = config.size("hidden_size");
  if (config.size("intermediate_size") != 4 * width)  // llama.cpp's files say so whatever the config says
    fail(ErrorCode::unsupported, "{}: intermediate_size is {}, expected four times the hidden_size of {}",
         config.path(), config.size("intermediate_size"), width);
  out.size("context_length", config.integer("max_position_embeddings"));
  out.size("embedding_length", width);
  out.size("feed_forward_length", 4 * width);
  out.size("block_count", config.layers());
  out.size("attention.head_count", config.heads());
  out.size("attention.head_count_kv", config.heads());
  out.number("attention.layer_norm_epsilon", config.number("layer_norm_eps"));
  out.size("rope.dimension_count", rope_size(config, 0.5));
}

void phi2_tensors(TensorPlan& plan) {
  if (plan.kv_heads != plan.heads)
    fail(ErrorCode::unsupported, "{}: num_key_value_heads is {}, but Phi has as many as heads ({})",
         plan.config().path(), plan.kv_heads, plan.heads);
  plan.outer("final_layernorm");
  plan.add({"model.final_layernorm.bias", "output_norm.bias", {plan.hidden}});
  plan.add({"lm_head.bias", "output.bias", {plan.vocabulary}});
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.bias("input_layernorm", "attn_norm", plan.hidden, false);
  const auto linear = [&](const char* from, const char* to, uint64_t rows, uint64_t columns) {
    plan.linear(from, to, rows, columns);
    plan.bias(from, to, rows, false);
  };
  linear("self_attn.q_proj", "attn_q", plan.hidden, plan.hidden);
  linear("self_attn.k_proj", "attn_k", plan.hidden, plan.hidden);
  linear("self_attn.v_proj", "attn_v", plan.hidden, plan.hidden);
  linear("self_attn.dense", "attn_output", plan.hidden, plan.hidden);
  linear("mlp.fc1", "ffn_up", plan.ffn, plan.hidden);
  linear("mlp.fc2", "ffn_down", plan.hidden, plan.ffn);
}

uint32_t original_context(const Config& config) {
  const double value = config.need_rope_number("original_max_position_embeddings");
  if (!(value >= 1 && value < 2147483648.0))
    config.error("original_max_position_embeddings", fmt::format("is {}", value));
  return static_cast<uint32_t>(value);
}

void phi3_metadata(const Config& config, ModelMetadata& out) {
  out.size("context_length", config.integer("max_position_embeddings"));
  out.size("rope.scaling.original_context_length", original_context(config));
  out.size("embedding_length", config.size("hidden_size"));
  out.size("feed_forward_length", config.size("intermediate_size"));
  out.size("block_count", config.layers());
  out.size("attention.head_count", config.heads());
  out.size("attention.head_count_kv", config.kv_heads());
  out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps"));
  out.size("rope.dimension_count", rope_size(config, 1));
  out.number("rope.freq_base", config.need_rope_number("rope_theta"));
  // 0 tells Phi-4 from those before it.
  out.size("attention.sliding_window", config.find_integer("sliding_window").value_or(0));
}

DerivedTensor factors(const Config& config, const char* key, const char* name) {
  const Json* list = member(config.rope(), key);
  const uint32_t count = rope_size(config, 1) / 2;
  if (!list || !list->is_array() || list->size() != count)
    config.error("rope_parameters", fmt::format("lacks {} of {} numbers", key, count));
  DerivedTensor out{name, {}};
  for (const Json& value : *list) {
    if (!value.is_number() || !std::isfinite(value.get<float>())) config.error(key, "is no list of numbers");
    out.values.push_back(value.get<float>());
  }
  return out;
}

// LongRoPE, arXiv 2402.13753.
std::vector<DerivedTensor> phi3_derived(const Config& config, ModelMetadata& out) {
  const Json* list = member(config.rope(), "long_factor");
  if (!list || list->empty()) return {};
  const std::string type = config.rope_type();
  const double original = original_context(config);
  const double scale = config.integer("max_position_embeddings") / original;
  if (original <= 1)  // its logarithm divides
    config.error("original_max_position_embeddings", fmt::format("is {}, too few for LongRoPE", original));
  double factor = 1;
  if (type == "longrope" || type == "su") {
    if (scale > 1) factor = std::sqrt(1 + std::log(scale) / std::log(original));
  } else if (type == "yarn") {
    if (scale > 1) factor = 0.1 * std::log(scale) + 1;
  } else {
    fail(ErrorCode::unsupported, "{}: RoPE scaling {} with long_factor is not supported", config.path(),
         quote(type));
  }
  out.number("rope.scaling.attn_factor", factor);
  return {factors(config, "long_factor", "rope_factors_long.weight"),
          factors(config, "short_factor", "rope_factors_short.weight")};
}

void phi3_tensors(TensorPlan& plan) {
  const uint64_t query = plan.heads * plan.head_size, key = plan.kv_heads * plan.head_size;
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.linear("self_attn.qkv_proj", "attn_qkv", query + 2 * key, plan.hidden);
  plan.linear("self_attn.o_proj", "attn_output", plan.hidden, query);
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
  plan.linear("mlp.gate_up_proj", "ffn_up", 2 * plan.ffn, plan.hidden);
  plan.linear("mlp.down_proj", "ffn_down", plan.hidden, plan.ffn);
}

}  // namespace

void add_phi_families(std::vector<Family>& out) {
  out.push_back({"phi2", {"PhiForCausalLM"}, phi2_metadata, phi2_vocabulary, phi2_tensors});
  out.push_back({"phi3", {"Phi3ForCausalLM"}, phi3_metadata, phi3_vocabulary, phi3_tensors, phi3_derived});
}

}  // namespace cairn::convert
