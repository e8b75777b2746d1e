// phi2: Phi-1.5 and Phi-2: attention and ffn both read one layer norm and are added together; biases
// everywhere; RoPE on a part of each head.
#include "graph/families/families.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File&, HyperParameters& p) {
  p.qkv_bias = p.attention_output_bias = p.ffn_bias = p.output_bias = true;
}

Model build_phi2(const HyperParameters& p) {
  Model model;
  model.parameters = p;
  model.embed.push_back(embed_op("token_embd.weight"));
  const auto add_branches = [](OpList& ops) {
    ops.push_back(add_op(Slot::branch));
    ops.push_back(add_op(Slot::branch2));
  };
  for (uint32_t i = 0; i < p.layers; ++i) {
    Layer& layer = model.layers.emplace_back();
    OpList& attention_input = subgraph(layer, SubgraphKind::attention_input);
    if (i > 0) add_branches(attention_input);
    attention_input.push_back(norm_layer_op(Slot::hidden, Slot::normed, layer_tensor(i, "attn_norm.weight"),
                                            layer_tensor(i, "attn_norm.bias"), p.norm_epsilon));
    attention_input.push_back(quantize_op(Slot::normed));

    add_qkv(subgraph(layer, SubgraphKind::qkv), p, i);
    add_attention(subgraph(layer, SubgraphKind::attention), p, i);
    add_attention_output(subgraph(layer, SubgraphKind::attention_output), p, i);

    // ffn_input stays empty: the ffn reads the same `normed` as the attention did.
    add_plain_ffn(subgraph(layer, SubgraphKind::ffn), p, i, Activation::gelu_tanh, Slot::branch2);
  }
  add_branches(model.head);
  model.head.push_back(
      norm_layer_op(Slot::hidden, Slot::normed, "output_norm.weight", "output_norm.bias", p.norm_epsilon));
  add_output(model.head, p);
  return model;
}

}  // namespace

const Family& phi2_family() {
  static constexpr Family family{"phi2", read, build_phi2};
  return family;
}

}  // namespace cairn::graph
