// Families with norms on the branches: OLMo 2 and 3, EXAONE 4, GLM-4.
#include "convert/families.hpp"
#include "convert/vocabulary.hpp"

namespace cairn::convert {
namespace {

constexpr uint32_t kOlmo3Period = 4;  // three local layers, one global

void olmo2_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  if (!config.find("sliding_window")) return;
  out.size("attention.sliding_window", config.size("sliding_window"));
  auto local = config.sliding_layers();
  if (!local) {
    local.emplace();
    for (uint32_t i = 0; i < config.layers(); ++i) local->push_back((i + 1) % kOlmo3Period != 0);
  }
  out.flags("attention.sliding_window_pattern", *local);
}

void branch_norms(TensorPlan& plan) {
  plan.norm("post_attention_layernorm", "post_attention_norm", plan.hidden);
  plan.norm("post_feedforward_layernorm", "post_ffw_norm", plan.hidden);
}

void olmo2_tensors(TensorPlan& plan) {
  plan.outer();
  plan.attention();
  plan.gated_ffn();
  branch_norms(plan);
  plan.norm("self_attn.q_norm", "attn_q_norm", plan.heads * plan.head_size);
  plan.norm("self_attn.k_norm", "attn_k_norm", plan.kv_heads * plan.head_size);
}

void exaone4_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  out.size("vocab_size", config.size("vocab_size"));
  if (!config.find("sliding_window")) return;
  out.size("attention.sliding_window", config.size("sliding_window"));
  if (const auto local = config.sliding_layers()) out.flags("attention.sliding_window_pattern", *local);
}

void exaone4_tensors(TensorPlan& plan) {
  plan.outer();
  plan.attention();
  plan.gated_ffn();
  branch_norms(plan);
  plan.norm("self_attn.q_norm", "attn_q_norm", plan.head_size);
  plan.norm("self_attn.k_norm", "attn_k_norm", plan.head_size);
}

std::vector<DerivedTensor> exaone4_derived(const Config& config, ModelMetadata&) {
  return llama3_divisors(config, 16);
}

void glm4_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  out.size("rope.dimension_count", static_cast<uint32_t>(config.head_size() * config.rope_part(0.5)));
}

void glm4_tensors(TensorPlan& plan) {
  plan.outer();
  plan.attention();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.norm("post_self_attn_layernorm", "post_attention_norm", plan.hidden);
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
  plan.norm("post_mlp_layernorm", "post_ffw_norm", plan.hidden);
  plan.linear("mlp.gate_up_proj", "ffn_up", 2 * plan.ffn, plan.hidden);
  plan.linear("mlp.down_proj", "ffn_down", plan.hidden, plan.ffn);
}

}  // namespace

void add_branch_families(std::vector<Family>& out) {
  out.push_back(
      {"olmo2", {"Olmo2ForCausalLM", "Olmo3ForCausalLM"}, olmo2_metadata, bpe_vocabulary, olmo2_tensors});
  out.push_back({"glm4", {"Glm4ForCausalLM"}, glm4_metadata, glm4_vocabulary, glm4_tensors});
  out.push_back({"exaone4",
                 {"Exaone4ForCausalLM"},
                 exaone4_metadata,
                 bpe_vocabulary,
                 exaone4_tensors,
                 exaone4_derived});
}

}  // namespace cairn::convert
