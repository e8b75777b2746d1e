#include "convert/families.hpp"
#include "convert/vocabulary.hpp"

namespace cairn::convert {
namespace {

void gemma_metadata(const Config& config, ModelMetadata& out) {
  out.size("context_length", config.integer("max_position_embeddings"));
  out.size("embedding_length", config.size("hidden_size"));
  out.size("block_count", config.layers());
  out.size("feed_forward_length", config.size("intermediate_size"));
  out.size("attention.head_count", config.heads());
  out.size("attention.head_count_kv", config.kv_heads());
  out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps"));
  out.size("attention.key_length", config.head_size());
  out.size("attention.value_length", config.head_size());
}

void gemma3_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  if (config.find("attn_logit_softcapping"))
    config.error("attn_logit_softcapping", "is set, which Gemma 3 has not");
  if (const double cap =
          config.find("final_logit_softcapping") ? config.number("final_logit_softcapping") : 0;
      cap != 0)
    out.number("final_logit_softcapping", cap);
  const Json* pattern = config.find("sliding_window_pattern");
  if (!pattern || *pattern != 1) out.size("attention.sliding_window", config.size("sliding_window"));
}

void block(TensorPlan& plan) {
  plan.norms_plus_one = true;
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.attention();
  plan.gated_ffn();
}

void gemma_tensors(TensorPlan& plan) {
  block(plan);
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
}

void gemma3_tensors(TensorPlan& plan) {
  block(plan);
  plan.norm("self_attn.q_norm", "attn_q_norm", plan.head_size);
  plan.norm("self_attn.k_norm", "attn_k_norm", plan.head_size);
  plan.norm("post_attention_layernorm", "post_attention_norm", plan.hidden);
  plan.norm("pre_feedforward_layernorm", "ffn_norm", plan.hidden);
  plan.norm("post_feedforward_layernorm", "post_ffw_norm", plan.hidden);
}

}  // namespace

void add_gemma_families(std::vector<Family>& out) {
  out.push_back({"gemma", {"GemmaForCausalLM"}, gemma_metadata, gemma_vocabulary, gemma_tensors});
  out.push_back({"gemma3",
                 {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
                 gemma3_metadata,
                 gemma3_vocabulary,
                 gemma3_tensors});
}

}  // namespace cairn::convert
