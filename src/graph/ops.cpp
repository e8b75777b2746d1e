#include "graph/ops.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace cairn::graph {

std::string layer_tensor(uint32_t layer, const char* part) {
  return fmt::format("blk.{}.{}", layer, part);
}

std::string bias_if(bool present, uint32_t layer, const char* part) {
  return present ? layer_tensor(layer, part) : std::string();
}

Op embed_op(std::string weight) {
  Op op{.kind = OpKind::embed, .input = Slot::tokens, .output = Slot::hidden};
  op.weight = std::move(weight);
  return op;
}

Op add_position_op(Slot slot, std::string weight, uint32_t rows) {
  Op op{.kind = OpKind::add_position, .input = slot, .output = slot};
  op.weight = std::move(weight);
  op.rows = rows;
  return op;
}

Op add_row_op(Slot slot, std::string weight, uint32_t rows, uint32_t row) {
  Op op = add_position_op(slot, std::move(weight), rows);
  op.kind = OpKind::add_row;
  op.row_begin = row;
  return op;
}

Op scale_op(Slot slot, float factor) {
  Op op{.kind = OpKind::scale, .input = slot, .output = slot};
  op.factor = factor;
  return op;
}

Op copy_op(Slot input, Slot output) {
  return {.kind = OpKind::scale, .input = input, .output = output};
}

Op norm_rms_op(Slot input, Slot output, std::string weight, float epsilon, uint32_t heads) {
  Op op{.kind = OpKind::norm_rms, .input = input, .output = output};
  op.weight = std::move(weight);
  op.epsilon = epsilon;
  op.heads = heads;
  return op;
}

Op norm_layer_op(Slot input, Slot output, std::string weight, std::string bias, float epsilon) {
  Op op{.kind = OpKind::norm_layer, .input = input, .output = output};
  op.weight = std::move(weight);
  op.bias = std::move(bias);
  op.epsilon = epsilon;
  return op;
}

Op quantize_op(Slot slot) {
  return {.kind = OpKind::quantize, .input = slot, .output = slot};
}

Op linear_op(Slot input, Slot output, std::string weight, std::string bias, uint32_t rows,
             uint32_t row_begin) {
  Op op{.kind = OpKind::linear, .input = input, .output = output};
  op.weight = std::move(weight);
  op.bias = std::move(bias);
  op.row_begin = row_begin;
  op.rows = rows;
  return op;
}

Op rope_op(Slot slot, uint32_t heads, const Rope& rope) {
  Op op{.kind = OpKind::rope, .input = slot, .output = slot};
  op.heads = heads;
  op.rope = rope;
  return op;
}

Op gate_op(Activation activation, Slot gate, Slot up) {
  Op op{.kind = OpKind::gate, .input = gate, .input2 = up, .output = gate};
  op.activation = activation;
  return op;
}

Op gate_values_op(Activation activation, Slot gate, Slot values) {
  Op op = gate_op(activation, gate, values);
  op.output = values;
  return op;
}

Op activate_op(Slot slot, Activation activation) {
  Op op{.kind = OpKind::activate, .input = slot, .output = slot};
  op.activation = activation;
  return op;
}

Op add_op(Slot branch) {
  return {.kind = OpKind::add, .input = Slot::hidden, .input2 = branch, .output = Slot::hidden};
}

OpList& subgraph(Layer& layer, SubgraphKind kind) {
  return layer[static_cast<size_t>(kind)];
}

void add_qkv(OpList& ops, const HyperParameters& p, uint32_t layer) {
  const uint32_t q_rows = p.heads * p.head_size, kv_rows = p.kv_heads * p.head_size;
  if (p.fused_qkv) {
    const std::string weight = layer_tensor(layer, "attn_qkv.weight");
    const std::string bias = bias_if(p.qkv_bias, layer, "attn_qkv.bias");
    ops.push_back(linear_op(Slot::normed, Slot::query, weight, bias, q_rows));
    ops.push_back(linear_op(Slot::normed, Slot::key, weight, bias, kv_rows, q_rows));
    ops.push_back(linear_op(Slot::normed, Slot::value, weight, bias, kv_rows, q_rows + kv_rows));
    return;
  }
  const auto add = [&](Slot slot, const char* weight, const char* bias, uint32_t rows) {
    ops.push_back(
        linear_op(Slot::normed, slot, layer_tensor(layer, weight), bias_if(p.qkv_bias, layer, bias), rows));
  };
  if (p.output_gate) {
    add(Slot::query_gate, "attn_q.weight", "attn_q.bias", 2 * q_rows);
  } else {
    add(Slot::query, "attn_q.weight", "attn_q.bias", q_rows);
  }
  add(Slot::key, "attn_k.weight", "attn_k.bias", kv_rows);
  add(Slot::value, "attn_v.weight", "attn_v.bias", kv_rows);
}

void add_attention(OpList& ops, const HyperParameters& p, uint32_t layer) {
  const bool local = p.is_local(layer);
  for (uint32_t half = 0; half < 2 && p.output_gate; ++half) {
    Op part{.kind = OpKind::part, .input = Slot::query_gate};
    part.output = half == 0 ? Slot::query : Slot::context_gate;
    part.row_begin = half;
    part.heads = p.heads;
    ops.push_back(part);
  }
  if (p.qk_norm) {
    const auto norm = [&](Slot slot, const char* weight, uint32_t heads) {
      ops.push_back(
          norm_rms_op(slot, slot, layer_tensor(layer, weight), p.norm_epsilon, p.whole_qk_norm ? 0 : heads));
    };
    norm(Slot::query, "attn_q_norm.weight", p.heads);
    norm(Slot::key, "attn_k_norm.weight", p.kv_heads);
  }
  if (p.has_rope(layer)) {
    const Rope& rope = local && p.local_rope.dims != 0 ? p.local_rope : p.rope;
    Rope query = rope;
    query.temperature = p.temperature;
    query.temperature_length = p.rope.original_context;
    ops.push_back(rope_op(Slot::query, p.heads, query));
    ops.push_back(rope_op(Slot::key, p.kv_heads, rope));
  }
  Op attention{.kind = OpKind::attention, .input = Slot::query, .input2 = Slot::key, .output = Slot::context};
  attention.factor = p.attention_scale;
  attention.softcap = p.attention_softcap;
  attention.window = local ? p.window : 0;
  attention.causal = p.causal;
  if (p.sinks) attention.weight = layer_tensor(layer, "attn_sinks.weight");
  ops.push_back(attention);
  if (p.output_gate) ops.push_back(gate_values_op(Activation::sigmoid, Slot::context_gate, Slot::context));
  ops.push_back(quantize_op(Slot::context));
}

void add_attention_output(OpList& ops, const HyperParameters& p, uint32_t layer) {
  ops.push_back(linear_op(Slot::context, Slot::branch, layer_tensor(layer, "attn_output.weight"),
                          bias_if(p.attention_output_bias, layer, "attn_output.bias"), p.embedding));
}

void add_plain_ffn(OpList& ops, const HyperParameters& p, uint32_t layer, Activation activation,
                   Slot branch) {
  ops.push_back(linear_op(Slot::normed, Slot::up, layer_tensor(layer, "ffn_up.weight"),
                          bias_if(p.ffn_bias, layer, "ffn_up.bias"), p.ffn));
  ops.push_back(activate_op(Slot::up, activation));
  ops.push_back(quantize_op(Slot::up));
  ops.push_back(linear_op(Slot::up, branch, layer_tensor(layer, "ffn_down.weight"),
                          bias_if(p.ffn_bias, layer, "ffn_down.bias"), p.embedding));
}

void add_output(OpList& ops, const HyperParameters& p) {
  ops.push_back(quantize_op(Slot::normed));
  ops.push_back(linear_op(Slot::normed, Slot::logits, p.tied_output ? "token_embd.weight" : "output.weight",
                          p.output_bias ? "output.bias" : "", p.vocabulary));
  if (p.logit_scale != 1) ops.push_back(scale_op(Slot::logits, p.logit_scale));
  if (p.logit_softcap > 0) {
    Op cap{.kind = OpKind::softcap, .input = Slot::logits, .output = Slot::logits};
    cap.factor = p.logit_softcap;
    ops.push_back(cap);
  }
}

Op narrow_op(Op op, const HyperParameters& p, uint32_t layer) {
  if (!p.ffns.empty()) op.width = p.ffns[layer];
  return op;
}

void add_ffn(OpList& ffn, const HyperParameters& p, uint32_t layer, Activation activation) {
  const char* gate = p.fused_gate_up ? "ffn_up" : "ffn_gate";
  const auto add_linear = [&](Slot slot, const std::string& part, uint32_t first) {
    ffn.push_back(linear_op(Slot::normed, slot, layer_tensor(layer, (part + ".weight").c_str()),
                            bias_if(p.ffn_bias, layer, (part + ".bias").c_str()), p.ffn_of(layer), first));
  };
  add_linear(Slot::gate, gate, 0);
  add_linear(Slot::up, "ffn_up", p.fused_gate_up ? p.ffn_of(layer) : 0);
  ffn.push_back(narrow_op(gate_op(activation), p, layer));
  ffn.push_back(narrow_op(quantize_op(Slot::gate), p, layer));
  ffn.push_back(narrow_op(linear_op(Slot::gate, Slot::branch, layer_tensor(layer, "ffn_down.weight"),
                                    bias_if(p.ffn_bias, layer, "ffn_down.bias"), p.embedding),
                          p, layer));
}

Model build_sequential(const HyperParameters& p, const SequentialStyle& style) {
  Model model;
  model.parameters = p;
  model.embed.push_back(embed_op("token_embd.weight"));
  if (style.scale_embedding) {
    model.embed.push_back(scale_op(Slot::hidden, std::sqrt(static_cast<float>(p.embedding))));
  }
  if (p.embedding_scale != 1) model.embed.push_back(scale_op(Slot::hidden, p.embedding_scale));

  // A branch is added at the start of the next float subgraph, after its own norm if the family has one.
  const auto add_branch = [&](OpList& ops, uint32_t layer, const char* post_norm) {
    if (style.post_norms) {
      ops.push_back(norm_rms_op(Slot::branch, Slot::branch, layer_tensor(layer, post_norm), p.norm_epsilon));
    }
    if (p.residual_scale != 1) ops.push_back(scale_op(Slot::branch, p.residual_scale));
    ops.push_back(add_op(Slot::branch));
  };
  const auto add_ffn_branch = [&](OpList& ops, uint32_t layer) {
    add_branch(ops, layer, "post_ffw_norm.weight");
    if (!p.shared_expert || !p.has_experts(layer)) return;
    if (p.residual_scale != 1) ops.push_back(scale_op(Slot::branch2, p.residual_scale));
    ops.push_back(add_op(Slot::branch2));
  };
  const auto add_input = [&](OpList& ops, uint32_t layer, const char* norm) {
    if (style.input_norms) {
      ops.push_back(norm_rms_op(Slot::hidden, Slot::normed, layer_tensor(layer, norm), p.norm_epsilon));
    } else {
      ops.push_back(copy_op(Slot::hidden, Slot::normed));
    }
    ops.push_back(quantize_op(Slot::normed));
  };

  for (uint32_t i = 0; i < p.layers; ++i) {
    Layer& layer = model.layers.emplace_back();

    OpList& attention_input = subgraph(layer, SubgraphKind::attention_input);
    if (i > 0) add_ffn_branch(attention_input, i - 1);
    add_input(attention_input, i, "attn_norm.weight");

    if (p.is_recurrent(i)) {
      style.recurrent(layer, p, i);
    } else if (style.attention != nullptr) {
      style.attention(layer, p, i);
    } else {
      add_qkv(subgraph(layer, SubgraphKind::qkv), p, i);
      add_attention(subgraph(layer, SubgraphKind::attention), p, i);
      add_attention_output(subgraph(layer, SubgraphKind::attention_output), p, i);
    }

    OpList& ffn_input = subgraph(layer, SubgraphKind::ffn_input);
    add_branch(ffn_input, i, "post_attention_norm.weight");
    add_input(ffn_input, i, style.ffn_norm);

    OpList& ffn = subgraph(layer, SubgraphKind::ffn);
    if (p.has_experts(i)) {
      add_experts(ffn, p, i, style.activation);
    } else {
      add_ffn(ffn, p, i, style.activation);
    }
  }

  add_ffn_branch(model.head, p.layers - 1);
  model.head.push_back(norm_rms_op(Slot::hidden, Slot::normed, style.output_norm, p.norm_epsilon));
  add_output(model.head, p);
  return model;
}

}  // namespace cairn::graph
