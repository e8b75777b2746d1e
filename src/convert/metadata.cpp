#include "convert/metadata.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "convert/experts.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

void scaling_metadata(const Config& config, ModelMetadata& out) {
  const std::string type = config.rope_type();
  const auto factor = config.rope_number("factor");
  if (type.empty() || type == "default" || type == "llama3") return;  // llama3's divisors are a tensor
  if (type == "longrope" || type == "su") return out.text("rope.scaling.type", "longrope");
  if (type != "linear" && type != "yarn")
    fail(ErrorCode::unsupported,
         "{}: RoPE scaling {} is not supported (default, linear, yarn, llama3, longrope are)", config.path(),
         quote(type));
  if (!factor) return;
  out.text("rope.scaling.type", type.c_str());
  out.number("rope.scaling.factor", *factor);
  if (type == "linear") return;
  const double original = config.need_rope_number("original_max_position_embeddings");
  if (!(original >= 1 && original < 2147483648.0))
    config.error("original_max_position_embeddings", fmt::format("is {}", original));
  out.size("rope.scaling.original_context_length", static_cast<uint32_t>(original));
  const auto copy = [&](const char* key, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (const auto value = config.rope_number(name)) return out.number(key, *value);
    }
  };
  copy("rope.scaling.yarn_ext_factor", {"extrapolation_factor"});
  copy("rope.scaling.yarn_attn_factor", {"attention_factor", "attn_factor"});
  copy("rope.scaling.yarn_beta_fast", {"beta_fast"});
  copy("rope.scaling.yarn_beta_slow", {"beta_slow"});
}

void expert_metadata(const Config& config, ModelMetadata& out) {
  if (const auto count = expert_count(config)) out.size("expert_count", *count);
  if (const auto used = config.find_integer("num_experts_per_tok")) out.size("expert_used_count", *used);
}

}  // namespace

void Metadata::set(const std::string& key, gguf::WriterValue value) {
  const auto found = std::ranges::find(values_, key, &std::pair<std::string, gguf::WriterValue>::first);
  if (found == values_.end()) {
    values_.emplace_back(key, std::move(value));
  } else {
    found->second = std::move(value);
  }
}

void common_metadata(const Config& config, ModelMetadata& out) {
  out.size("block_count", config.layers());
  out.size("context_length", config.integer("max_position_embeddings"));
  out.size("embedding_length", config.size("hidden_size"));
  if (config.find("intermediate_size") || !config.find("moe_intermediate_size"))
    out.size("feed_forward_length", config.size("intermediate_size"));
  out.size("attention.head_count", config.heads());
  out.size("attention.head_count_kv", config.kv_heads());
  expert_metadata(config, out);
  scaling_metadata(config, out);
  if (const auto base = config.rope_number("rope_theta")) out.number("rope.freq_base", *base);
  if (const auto base = config.local_rope_theta()) out.number("rope.freq_base_swa", *base);
  if (config.find("rms_norm_eps"))
    out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps"));
  if (config.find("layer_norm_eps"))
    out.number("attention.layer_norm_epsilon", config.number("layer_norm_eps"));
  if (config.find("head_dim")) {
    out.size("attention.key_length", config.size("head_dim"));
    out.size("attention.value_length", config.size("head_dim"));
  }
}

void llama_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  out.size("vocab_size", config.size("vocab_size"));
  out.size("rope.dimension_count", config.head_size());
}

}  // namespace cairn::convert
