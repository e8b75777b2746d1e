// Mixtures of experts: Qwen 3's, GPT-OSS, Granite's.
#include "base/error.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// "model.layers.N.FROM" → "blk.N.TO" in every layer; names that end in no ".weight".
void each_layer(TensorPlan& plan, std::string_view from, std::string_view to, const TensorRule& like) {
  for (uint32_t i = 0; i < plan.layers; ++i) {
    TensorRule rule = like;
    rule.from = fmt::format("model.layers.{}.{}", i, from);
    rule.to = fmt::format("blk.{}.{}", i, to);
    plan.add(std::move(rule));
  }
}

TensorRule shaped(std::vector<uint64_t> shape, Layout layout = Layout::plain,
                  Outputs outputs = Outputs::all) {
  TensorRule rule;
  rule.shape = std::move(shape);
  rule.layout = layout;
  rule.outputs = outputs;
  return rule;
}

// --- qwen3moe -------------------------------------------------------------------------------------------

void qwen3moe_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  out.size("expert_feed_forward_length", config.size("moe_intermediate_size"));
  // llama.cpp's converter leaves it out, as its runtime normalises all the same; no published model has it.
  if (!config.flag("norm_topk_prob", false)) out.flag("expert_weights_norm", false);
}

void qwen3moe_tensors(TensorPlan& plan) {
  constexpr uint64_t kMostMatrices = uint64_t{1} << 18;
  const Config& config = plan.config();
  const Json* dense = config.find("mlp_only_layers");
  if (config.size("decoder_sparse_step") != 1 || (dense && !dense->empty()))
    fail(ErrorCode::unsupported,
         "{}: layers without experts (decoder_sparse_step, mlp_only_layers) are not supported",
         config.path());
  plan.experts = need_experts(plan.config());
  if (plan.layers * plan.experts > kMostMatrices)
    config.error("num_experts",
                 fmt::format("is {} in {} layers, more than any model has", plan.experts, plan.layers));
  const uint64_t width = config.size("moe_intermediate_size");
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.attention();
  plan.norm("self_attn.q_norm", "attn_q_norm", plan.head_size);
  plan.norm("self_attn.k_norm", "attn_k_norm", plan.head_size);
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
  plan.linear("mlp.gate", "ffn_gate_inp", plan.experts, plan.hidden);
  for (uint32_t i = 0; i < plan.experts; ++i) {
    const auto matrix = [&](const char* from, const char* to, uint64_t rows, uint64_t columns) {
      TensorRule rule = shaped({rows, columns});
      rule.experts = static_cast<uint32_t>(plan.experts);
      rule.expert = i;
      each_layer(plan, fmt::format("mlp.experts.{}.{}.weight", i, from), to, rule);
    };
    matrix("gate_proj", "ffn_gate_exps.weight", width, plan.hidden);
    matrix("up_proj", "ffn_up_exps.weight", width, plan.hidden);
    matrix("down_proj", "ffn_down_exps.weight", plan.hidden, width);
  }
}

// --- gpt-oss --------------------------------------------------------------------------------------------

void gpt_oss_metadata(const Config& config, ModelMetadata& out) {
  common_metadata(config, out);
  out.size("attention.sliding_window", config.size("sliding_window"));
  out.size("expert_feed_forward_length", config.size("intermediate_size"));
}

bool in_mxfp4(const Config& config) {
  const Json* how = config.find("quantization_config");
  return how && text_of(*how, "quant_method") == "mxfp4";
}

void gpt_oss_experts(TensorPlan& plan) {
  constexpr uint64_t kBlock = 32, kCodeBytes = 16;  // of MXFP4
  const uint64_t experts = plan.experts, both = 2 * plan.ffn;
  const bool blocks = in_mxfp4(plan.config());
  const auto matrix = [&](const std::string& from, const char* to, uint64_t outputs, uint64_t inputs,
                          Outputs which) {
    if (blocks && inputs % kBlock != 0)
      plan.config().error("hidden_size", fmt::format("or intermediate_size is {}, no multiple of MXFP4's {}",
                                                     inputs, kBlock));
    const std::string name = "mlp.experts." + from, file = to;
    each_layer(plan, blocks ? name + "_blocks" : name, file + ".weight",
               blocks ? shaped({experts, outputs, inputs / kBlock, kCodeBytes}, Layout::mxfp4, which)
                      : shaped({experts, inputs, outputs}, Layout::transposed, which));
    each_layer(plan, name + "_bias", file + ".bias", shaped({experts, outputs}, Layout::transposed, which));
  };
  matrix("gate_up_proj", "ffn_gate_exps", both, plan.hidden, Outputs::even);
  matrix("gate_up_proj", "ffn_up_exps", both, plan.hidden, Outputs::odd);
  matrix("down_proj", "ffn_down_exps", plan.hidden, plan.ffn, Outputs::all);
}

void gpt_oss_tensors(TensorPlan& plan) {
  plan.experts = need_experts(plan.config());
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.attention(true);
  each_layer(plan, "self_attn.sinks", "attn_sinks.weight", shaped({plan.heads}));
  plan.norm("post_attention_layernorm", "post_attention_norm", plan.hidden);
  plan.linear("mlp.router", "ffn_gate_inp", plan.experts, plan.hidden);
  plan.bias("mlp.router", "ffn_gate_inp", plan.experts, false);
  gpt_oss_experts(plan);
}

// --- granitemoe -----------------------------------------------------------------------------------------

void both_halves(TensorPlan& plan, const char* from, const char* gate, const char* up,
                 const std::vector<uint64_t>& shape) {
  each_layer(plan, from, gate, shaped(shape, Layout::plain, Outputs::first_half));
  each_layer(plan, from, up, shaped(shape, Layout::plain, Outputs::second_half));
}

void granitemoe_tensors(TensorPlan& plan) {
  granite_attention(plan);
  granite_experts(plan);
}

}  // namespace

void granitemoe_metadata(const Config& config, ModelMetadata& out) {
  granite_metadata(config, out);
  const uint32_t shared = config.find_integer("shared_intermediate_size").value_or(0);
  if (shared != 0) out.size("expert_shared_feed_forward_length", shared);
}

void granite_experts(TensorPlan& plan) {
  plan.experts = need_experts(plan.config());
  plan.linear("block_sparse_moe.router.layer", "ffn_gate_inp", plan.experts, plan.hidden);
  both_halves(plan, "block_sparse_moe.input_linear.weight", "ffn_gate_exps.weight", "ffn_up_exps.weight",
              {plan.experts, 2 * plan.ffn, plan.hidden});
  each_layer(plan, "block_sparse_moe.output_linear.weight", "ffn_down_exps.weight",
             shaped({plan.experts, plan.hidden, plan.ffn}));
  const uint64_t shared = plan.config().find_integer("shared_intermediate_size").value_or(0);
  if (shared == 0) return;
  both_halves(plan, "shared_mlp.input_linear.weight", "ffn_gate_shexp.weight", "ffn_up_shexp.weight",
              {2 * shared, plan.hidden});
  plan.linear("shared_mlp.output_linear", "ffn_down_shexp", plan.hidden, shared);
}

void granite_shared_ffn(TensorPlan& plan) {
  if (expert_count(plan.config()).value_or(0) != 0)
    plan.config().error("num_experts_per_tok", "is 0, but there are experts");
  const uint64_t shared = plan.config().size("shared_intermediate_size");
  both_halves(plan, "shared_mlp.input_linear.weight", "ffn_gate.weight", "ffn_up.weight",
              {2 * shared, plan.hidden});
  plan.linear("shared_mlp.output_linear", "ffn_down", plan.hidden, shared);
}

void granite_attention(TensorPlan& plan) {
  plan.permuted = true;
  plan.outer();
  plan.norm("input_layernorm", "attn_norm", plan.hidden);
  plan.attention();
  plan.norm("post_attention_layernorm", "ffn_norm", plan.hidden);
}

void add_mixture_families(std::vector<Family>& out) {
  constexpr auto kMixture = true;
  out.push_back({"qwen3moe",
                 {"Qwen3MoeForCausalLM"},
                 qwen3moe_metadata,
                 bpe_vocabulary,
                 qwen3moe_tensors,
                 nullptr,
                 kMixture});
  out.push_back({"gpt-oss",
                 {"GptOssForCausalLM"},
                 gpt_oss_metadata,
                 bpe_vocabulary,
                 gpt_oss_tensors,
                 nullptr,
                 kMixture});
  out.push_back({"granitemoe",
                 {"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"},
                 granitemoe_metadata,
                 llama_vocabulary,
                 granitemoe_tensors,
                 nullptr,
                 kMixture});
}

}  // namespace cairn::convert
