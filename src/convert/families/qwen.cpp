#include "convert/families.hpp"
#include "convert/pooling.hpp"
#include "convert/vocabulary.hpp"

namespace cairn::convert {
namespace {

// Embedding models are saved without their head, and without the prefix that it brings.
std::string prefixed_name(std::string name) {
  for (const std::string_view begin : {"layers.", "embed_tokens.", "norm."}) {
    if (name.starts_with(begin)) return "model." + name;
  }
  return name;
}

void metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  pooling_metadata(config, out);
}

void block(TensorPlan& plan, bool biased) {
  plan.rename = prefixed_name;
  plan.headless = plan.config().architecture().ends_with("Model");
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.attention(biased);
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
  plan.gated_ffn();
}

void qwen2_tensors(TensorPlan& plan) {
  block(plan, true);
}

void qwen3_tensors(TensorPlan& plan) {
  block(plan, false);
  plan.norm("self_attn.q_norm", "attn_q_norm", plan.head_size);
  plan.norm("self_attn.k_norm", "attn_k_norm", plan.head_size);
}

}  // namespace

void add_qwen_families(std::vector<Family>& out) {
  out.push_back({"qwen2", {"Qwen2ForCausalLM", "Qwen2Model"}, metadata, any_vocabulary, qwen2_tensors});
  out.push_back({"qwen3", {"Qwen3ForCausalLM", "Qwen3Model"}, metadata, any_vocabulary, qwen3_tensors});
}

}  // namespace cairn::convert
