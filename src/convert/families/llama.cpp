// llama, and what its converter makes with other names: mistral3, smollm3, granite.
#include "base/error.hpp"
#include "convert/families.hpp"
#include "convert/vocabulary.hpp"

namespace cairn::convert {
namespace {

void block(TensorPlan& plan) {
  plan.permuted = true;
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.attention();
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
  plan.gated_ffn();
}

void mistral3_metadata(const Config& config, ModelMetadata& out) {
  llama_metadata(config, out);
  if (config.model_type() != "ministral3") return;
  if (config.rope_type() != "yarn") config.error("rope_parameters", "are of another type than yarn");
  out.number("rope.scaling.yarn_log_multiplier", config.need_rope_number("mscale_all_dim"));
  out.number("attention.temperature_scale", config.need_rope_number("llama_4_scaling_beta"));
}

std::vector<DerivedTensor> divisors(const Config& config, ModelMetadata&) {
  return llama3_divisors(config, 8);
}

}  // namespace

void granite_metadata(const Config& config, ModelMetadata& out) {
  llama_metadata(config, out);
  for (const auto& [key, name] : {std::pair{"attention.scale", "attention_multiplier"},
                                  {"embedding_scale", "embedding_multiplier"},
                                  {"residual_scale", "residual_multiplier"},
                                  {"logit_scale", "logits_scaling"}}) {
    if (const double value = config.find(name) ? config.number(name) : 0; value != 0) out.number(key, value);
  }
}

void add_llama_families(std::vector<Family>& out) {
  out.push_back({"llama",
                 {"LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM"},
                 llama_metadata,
                 llama_vocabulary,
                 block,
                 divisors});
  out.push_back({"mistral3",
                 {"Ministral3ForCausalLM", "Mistral3ForConditionalGeneration"},
                 mistral3_metadata,
                 llama_vocabulary,
                 block,
                 divisors});
  out.push_back({"smollm3", {"SmolLM3ForCausalLM"}, llama_metadata, llama_vocabulary, block, divisors});
  out.push_back({"granite", {"GraniteForCausalLM"}, granite_metadata, llama_vocabulary, block, divisors});
}

}  // namespace cairn::convert
