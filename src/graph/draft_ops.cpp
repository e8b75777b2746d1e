// The layer that predicts the token behind the next one.
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void add_norm(OpList& ops, Slot input, Slot output, std::string weight, const HyperParameters& p) {
  ops.push_back(norm_rms_op(input, output, std::move(weight), p.norm_epsilon));
}

}  // namespace

Draft build_draft(const HyperParameters& p, const SequentialStyle& style) {
  const uint32_t layer = p.layers;
  const auto tensor = [&](const char* part) { return layer_tensor(layer, part); };
  Draft draft;
  draft.embed.push_back(
      embed_op(p.draft_embedding ? tensor("nextn.embed_tokens.weight") : "token_embd.weight"));

  OpList& keys = draft.keys;
  add_norm(keys, Slot::hidden, Slot::hidden, tensor("nextn.enorm.weight"), p);
  add_norm(keys, Slot::draft_hidden, Slot::draft_hidden, tensor("nextn.hnorm.weight"), p);
  keys.push_back({.kind = OpKind::join,
                  .input = Slot::hidden,
                  .input2 = Slot::draft_hidden,
                  .output = Slot::draft_input});
  keys.push_back(quantize_op(Slot::draft_input));
  keys.push_back(linear_op(Slot::draft_input, Slot::hidden, tensor("nextn.eh_proj.weight"), "", p.embedding));
  add_norm(keys, Slot::hidden, Slot::normed, tensor("attn_norm.weight"), p);
  keys.push_back(quantize_op(Slot::normed));

  // Keys and values do not wait for queries: of tokens that are read nothing else is wanted.
  OpList attention;
  add_qkv(attention, p, layer);
  add_attention(attention, p, layer);
  for (Op& op : attention) {
    const bool of_keys = op.output == Slot::key || op.output == Slot::value;
    (of_keys ? draft.keys : draft.rest).push_back(std::move(op));
  }
  OpList& rest = draft.rest;
  rest.push_back(linear_op(Slot::context, Slot::branch, tensor("attn_output.weight"), "", p.embedding));
  rest.push_back(add_op(Slot::branch));
  add_norm(rest, Slot::hidden, Slot::normed, tensor(style.ffn_norm), p);
  rest.push_back(quantize_op(Slot::normed));
  if (p.experts != 0) {
    add_experts(rest, p, layer, style.activation);
  } else {
    add_ffn(rest, p, layer, style.activation);
  }

  OpList& head = draft.head;
  head.push_back(add_op(Slot::branch));
  if (p.shared_expert) head.push_back(add_op(Slot::branch2));
  add_norm(head, Slot::hidden, Slot::normed,
           p.draft_norm ? tensor("nextn.shared_head_norm.weight") : style.output_norm, p);
  head.push_back(quantize_op(Slot::normed));
  const std::string usual = p.tied_output ? "token_embd.weight" : "output.weight";
  head.push_back(linear_op(Slot::normed, Slot::logits,
                           p.draft_head ? tensor("nextn.shared_head_head.weight") : usual, "", p.vocabulary));
  return draft;
}

}  // namespace cairn::graph
