#include "convert/families.hpp"
#include "convert/vocabulary.hpp"

namespace cairn::convert {
namespace {

void block(TensorPlan& plan, bool biased) {
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
  out.push_back({"qwen2", {"Qwen2ForCausalLM"}, common_metadata, any_vocabulary, qwen2_tensors});
  out.push_back({"qwen3", {"Qwen3ForCausalLM"}, common_metadata, any_vocabulary, qwen3_tensors});
}

}  // namespace cairn::convert
