// nemotron_h: Nemotron-H, Nemotron Nano 2 and 3: each layer is one part alone: Mamba-2, attention without
// RoPE, or a feed-forward part of squared ReLUs without a gate; in nemotron_h_moe experts of that kind,
// beside one that all tokens share. Sources: Nemotron-H, arXiv 2504.03624; transformers'
// NemotronHForCausalLM.
#include <utility>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  const Metadata in(file);
  const char* const kDrafts = "nextn_predict_layers";
  const uint64_t drafts = file.integer(in.key(kDrafts), 0);
  if (drafts >= p.layers)
    fail(ErrorCode::format, "{}: {} is {} of {} layers", in.path(), in.key(kDrafts), drafts, p.layers);
  p.draft_layers = static_cast<uint32_t>(drafts);  // passed over
  p.layers -= p.draft_layers;
  p.ffns.resize(p.layers);
  p.recurrent.resize(p.layers);
  for (uint32_t layer = 0; layer < p.layers; ++layer) {
    if (p.ffns[layer] == 0) continue;
    if (p.ffns[layer] != p.ffn) {
      fail(ErrorCode::unsupported, "{}: {} has {} and {}: layers of different widths are not supported",
           in.path(), in.key("feed_forward_length"), p.ffns[layer], p.ffn);
    }
    if (!p.recurrent[layer]) {
      fail(ErrorCode::format, "{}: layer {} has both {} and {}, expected one of them", in.path(), layer,
           in.key("attention.head_count_kv"), in.key("feed_forward_length"));
    }
    p.recurrent[layer] = false;
  }
  p.ungated = true;
  p.no_rope_step = 1;
  read_mamba2(file, p);
  if (p.experts == 0) return;
  p.sigmoid_experts = true;
  for (uint32_t layer = 0; layer < p.layers; ++layer)
    p.choice_bias |= file.find_tensor(layer_tensor(layer, "exp_probs_b.bias")) != nullptr;
  for (const auto& [key, most] : {std::pair{"moe_latent_size", 0U}, {"expert_group_count", 1U}}) {
    if (const uint64_t found = file.integer(in.key(key), 0); found > most) {
      fail(ErrorCode::unsupported, "{}: {} is {}: not supported in architecture '{}'", in.path(), in.key(key),
           found, p.architecture);
    }
  }
  p.shared_expert = file.integer(in.key("expert_shared_feed_forward_length"), 0) != 0;
  if (!p.shared_expert) return;
  p.ffn = in.size("expert_shared_feed_forward_length");
  for (uint32_t& width : p.ffns) width = width == 0 ? 0 : p.ffn;
}

Model build_nemotron_h(const HyperParameters& p) {
  Model model;
  model.parameters = p;
  model.embed.push_back(embed_op("token_embd.weight"));
  const auto is_ffn = [&](uint32_t layer) { return layer < p.ffns.size() && p.ffns[layer] != 0; };
  // The branch of the layer before, or two where that has experts, is added in front of the next one's norm.
  const auto add_branches = [&](OpList& ops, uint32_t layer) {
    ops.push_back(add_op(Slot::branch));
    if (p.shared_expert && is_ffn(layer)) ops.push_back(add_op(Slot::branch2));
  };
  for (uint32_t i = 0; i < p.layers; ++i) {
    Layer& layer = model.layers.emplace_back();
    OpList& input = subgraph(layer, is_ffn(i) ? SubgraphKind::ffn_input : SubgraphKind::attention_input);
    if (i > 0) add_branches(input, i - 1);
    input.push_back(
        norm_rms_op(Slot::hidden, Slot::normed, layer_tensor(i, "attn_norm.weight"), p.norm_epsilon));
    input.push_back(quantize_op(Slot::normed));
    if (p.is_recurrent(i)) {
      add_mamba2(layer, p, i);
    } else if (!is_ffn(i)) {
      add_qkv(subgraph(layer, SubgraphKind::qkv), p, i);
      add_attention(subgraph(layer, SubgraphKind::attention), p, i);
      add_attention_output(subgraph(layer, SubgraphKind::attention_output), p, i);
    } else if (p.experts != 0) {
      add_experts(subgraph(layer, SubgraphKind::ffn), p, i, Activation::relu_squared);
    } else {
      add_plain_ffn(subgraph(layer, SubgraphKind::ffn), p, i, Activation::relu_squared, Slot::branch);
    }
  }
  add_branches(model.head, p.layers - 1);
  model.head.push_back(norm_rms_op(Slot::hidden, Slot::normed, "output_norm.weight", p.norm_epsilon));
  add_output(model.head, p);
  return model;
}

}  // namespace

const Family& nemotron_h_family() {
  static constexpr Family family{.architecture = "nemotron_h",
                                 .read = read,
                                 .build = build_nemotron_h,
                                 .recurrent = true,
                                 .single_parts = true};
  return family;
}

const Family& nemotron_h_moe_family() {
  static constexpr Family family{.architecture = "nemotron_h_moe",
                                 .read = read,
                                 .build = build_nemotron_h,
                                 .mixture = true,
                                 .recurrent = true,
                                 .single_parts = true};
  return family;
}

}  // namespace cairn::graph
