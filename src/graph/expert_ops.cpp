// Mixtures of experts.
#include <utility>

#include "graph/ops.hpp"

namespace cairn::graph {

void add_router(OpList& ops, const HyperParameters& p, uint32_t layer, const Op& of) {
  ops.push_back(linear_op(Slot::normed, Slot::router, layer_tensor(layer, "ffn_gate_inp.weight"),
                          bias_if(p.expert_bias, layer, "ffn_gate_inp.bias"), p.experts));
  Op route = of;
  route.kind = OpKind::route;
  route.input = route.output = Slot::router;
  for (std::string* name : {&route.weight, &route.bias}) {
    if (!name->empty()) *name = layer_tensor(layer, name->c_str());
  }
  route.experts = p.experts;
  route.used = p.experts_used;
  route.normalise = p.normalise_experts;
  route.factor = p.expert_scale;
  route.groups = p.expert_groups;
  route.groups_used = p.expert_groups_used;
  if (p.sigmoid_experts) route.activation = Activation::sigmoid;
  ops.push_back(std::move(route));
}

void add_expert_products(OpList& ops, const HyperParameters& p, uint32_t layer, Activation activation,
                         Slot branch) {
  const auto of_experts = [&](Op op) {
    op.experts = p.experts;
    op.used = p.experts_used;
    ops.push_back(std::move(op));
  };
  const auto product = [&](Slot input, Slot output, const std::string& part, uint32_t rows,
                           uint32_t row_begin = 0, uint32_t all_rows = 0) {
    Op op = linear_op(input, output, layer_tensor(layer, (part + ".weight").c_str()),
                      bias_if(p.expert_bias, layer, (part + ".bias").c_str()), rows, row_begin);
    op.kind = OpKind::expert_linear;
    op.all_rows = all_rows;
    of_experts(std::move(op));
  };
  const uint32_t both = p.fused_experts ? 2 * p.expert_ffn : 0;
  if (p.ungated) {
    product(Slot::normed, Slot::expert_gate, "ffn_up_exps", p.expert_ffn);
    ops.push_back(activate_op(Slot::expert_gate, activation));
  } else {
    product(Slot::normed, Slot::expert_gate, both != 0 ? "ffn_gate_up_exps" : "ffn_gate_exps", p.expert_ffn,
            0, both);
    product(Slot::normed, Slot::expert_up, both != 0 ? "ffn_gate_up_exps" : "ffn_up_exps", p.expert_ffn,
            both / 2, both);
    ops.push_back(gate_op(activation, Slot::expert_gate, Slot::expert_up));
  }
  ops.push_back(quantize_op(Slot::expert_gate));
  product(Slot::expert_gate, Slot::expert_out, "ffn_down_exps", p.embedding);
  of_experts({.kind = OpKind::combine, .input = Slot::expert_out, .input2 = Slot::router, .output = branch});
}

void add_experts(OpList& ops, const HyperParameters& p, uint32_t layer, Activation activation) {
  const auto tensor = [&](const char* part) { return layer_tensor(layer, part); };
  Op route{.kind = OpKind::route};
  if (p.choice_bias) route.bias = "exp_probs_b.bias";
  add_router(ops, p, layer, route);
  add_expert_products(ops, p, layer, activation, Slot::branch);
  if (!p.shared_expert) return;
  const uint32_t width = p.ffn_of(layer);
  if (p.ungated) {
    ops.push_back(linear_op(Slot::normed, Slot::gate, tensor("ffn_up_shexp.weight"), "", width));
    ops.push_back(narrow_op(activate_op(Slot::gate, activation), p, layer));
  } else {
    ops.push_back(linear_op(Slot::normed, Slot::gate, tensor("ffn_gate_shexp.weight"), "", width));
    ops.push_back(linear_op(Slot::normed, Slot::up, tensor("ffn_up_shexp.weight"), "", width));
    ops.push_back(narrow_op(gate_op(activation), p, layer));
  }
  ops.push_back(narrow_op(quantize_op(Slot::gate), p, layer));
  ops.push_back(narrow_op(
      linear_op(Slot::gate, Slot::branch2, tensor("ffn_down_shexp.weight"), "", p.embedding), p, layer));
  if (!p.shared_gate) return;
  ops.push_back(linear_op(Slot::normed, Slot::shared_gate, tensor("ffn_gate_inp_shexp.weight"), "", 1));
  Op weigh{
      .kind = OpKind::weigh, .input = Slot::shared_gate, .input2 = Slot::branch2, .output = Slot::branch2};
  weigh.activation = Activation::sigmoid;
  ops.push_back(weigh);
}

}  // namespace cairn::graph
