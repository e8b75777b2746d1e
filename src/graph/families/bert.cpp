// bert: BERT and what embeds texts with it (all-MiniLM, bge, gte, e5): tokens see the whole text; learned
// positions and token types, layer norms behind the branches, biases everywhere; no head. Source: BERT, arXiv
// 1810.04805, and for norms and adding up transformers' modeling_bert.py.
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  if (p.window != 0) {
    const Metadata in(file);
    fail(ErrorCode::unsupported, "{}: {} is {}: windows around a token are not supported", in.path(),
         in.key("attention.sliding_window"), p.window);
  }
  p.causal = false;
  p.no_rope_step = 1;  // positions are learned
  if (file.find_tensor("token_types.weight") != nullptr)
    p.token_types = static_cast<uint32_t>(file.tensor("token_types.weight").rows());
}

Model build_bert(const HyperParameters& p) {
  Model model;
  model.parameters = p;
  const auto norm = [&](OpList& ops, Slot output, const std::string& name) {
    ops.push_back(norm_layer_op(Slot::hidden, output, name + ".weight", name + ".bias", p.norm_epsilon));
  };
  const auto add_branch = [&](OpList& ops, Slot output, const std::string& post_norm) {
    ops.push_back(add_op(Slot::branch));
    norm(ops, output, post_norm);
  };
  const auto add_input = [](OpList& ops) {
    ops.push_back(copy_op(Slot::hidden, Slot::normed));
    ops.push_back(quantize_op(Slot::normed));
  };
  model.embed.push_back(embed_op("token_embd.weight"));
  if (p.token_types != 0)
    model.embed.push_back(add_row_op(Slot::hidden, "token_types.weight", p.token_types, 0));
  model.embed.push_back(add_position_op(Slot::hidden, "position_embd.weight", p.context));
  norm(model.embed, Slot::hidden, "token_embd_norm");
  for (uint32_t i = 0; i < p.layers; ++i) {
    Layer& layer = model.layers.emplace_back();
    OpList& attention_input = subgraph(layer, SubgraphKind::attention_input);
    if (i > 0) add_branch(attention_input, Slot::hidden, layer_tensor(i - 1, "layer_output_norm"));
    add_input(attention_input);
    add_qkv(subgraph(layer, SubgraphKind::qkv), p, i);
    add_attention(subgraph(layer, SubgraphKind::attention), p, i);
    add_attention_output(subgraph(layer, SubgraphKind::attention_output), p, i);
    OpList& ffn_input = subgraph(layer, SubgraphKind::ffn_input);
    add_branch(ffn_input, Slot::hidden, layer_tensor(i, "attn_output_norm"));
    add_input(ffn_input);
    add_plain_ffn(subgraph(layer, SubgraphKind::ffn), p, i, Activation::gelu_erf, Slot::branch);
  }
  add_branch(model.head, Slot::normed, layer_tensor(p.layers - 1, "layer_output_norm"));
  return model;
}

}  // namespace

const Family& bert_family() {
  static constexpr Family family{.architecture = "bert", .read = read, .build = build_bert, .causal = false};
  return family;
}

}  // namespace cairn::graph
