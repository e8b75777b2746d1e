// What stands in place of attention in layers with a recurrent state.
#include <utility>

#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

Op convolve_op(const HyperParameters& p, std::string weight) {
  Op op{.kind = OpKind::convolve, .input = Slot::conv, .output = Slot::conv};
  op.weight = std::move(weight);
  op.window = p.conv_window;
  return op;
}

// Behind a layer's state: its result, gated, and the product with it.
void add_state_output(Layer& layer, const HyperParameters& p, uint32_t index) {
  subgraph(layer, SubgraphKind::attention).push_back(quantize_op(Slot::delta));
  subgraph(layer, SubgraphKind::attention_output)
      .push_back(linear_op(Slot::delta, Slot::branch, layer_tensor(index, "ssm_out.weight"),
                           bias_if(p.scan_bias, index, "ssm_out.bias"), p.embedding));
}

}  // namespace

void add_short_convolution(Layer& layer, const HyperParameters& p, uint32_t index) {
  const std::string input = layer_tensor(index, "shortconv.in_proj.weight");
  OpList& qkv = subgraph(layer, SubgraphKind::qkv);
  uint32_t row = 0;
  for (const Slot slot : {Slot::conv_in, Slot::conv_out, Slot::conv}) {
    qkv.push_back(linear_op(Slot::normed, slot, input, "", p.conv_channels, row));
    row += p.conv_channels;
  }
  OpList& ops = subgraph(layer, SubgraphKind::attention);
  ops.push_back(gate_values_op(Activation::none, Slot::conv_in, Slot::conv));
  ops.push_back(convolve_op(p, layer_tensor(index, "shortconv.conv.weight")));
  ops.push_back(gate_values_op(Activation::none, Slot::conv_out, Slot::conv));
  ops.push_back(quantize_op(Slot::conv));
  subgraph(layer, SubgraphKind::attention_output)
      .push_back(linear_op(Slot::conv, Slot::branch, layer_tensor(index, "shortconv.out_proj.weight"), "",
                           p.embedding));
}

void add_delta_net(Layer& layer, const HyperParameters& p, uint32_t index) {
  const uint32_t width = p.delta_heads * p.delta_size;
  const auto linear = [&](Slot slot, const char* part, uint32_t rows) {
    subgraph(layer, SubgraphKind::qkv)
        .push_back(linear_op(Slot::normed, slot, layer_tensor(index, part), "", rows));
  };
  linear(Slot::conv, "attn_qkv.weight", p.conv_channels);
  linear(Slot::delta_gate, "attn_gate.weight", width);
  linear(Slot::alpha, "ssm_alpha.weight", p.delta_heads);
  linear(Slot::beta, "ssm_beta.weight", p.delta_heads);

  OpList& ops = subgraph(layer, SubgraphKind::attention);
  ops.push_back(convolve_op(p, layer_tensor(index, "ssm_conv1d.weight")));
  ops.push_back(activate_op(Slot::conv, Activation::silu));
  Op delta{.kind = OpKind::delta_rule, .input = Slot::conv, .input2 = Slot::alpha, .output = Slot::delta};
  delta.weight = layer_tensor(index, "ssm_a");
  delta.bias = layer_tensor(index, "ssm_dt.bias");
  delta.epsilon = p.norm_epsilon;
  delta.heads = p.delta_heads;
  delta.key_heads = p.delta_key_heads;
  delta.block = p.delta_size;
  ops.push_back(delta);
  ops.push_back(norm_rms_op(Slot::delta, Slot::delta, layer_tensor(index, "ssm_norm.weight"), p.norm_epsilon,
                            p.delta_heads));
  ops.push_back(gate_values_op(Activation::silu, Slot::delta_gate, Slot::delta));
  add_state_output(layer, p, index);
}

void add_mamba2(Layer& layer, const HyperParameters& p, uint32_t index) {
  const uint32_t width = p.delta_heads * p.delta_size;
  const std::string weight = layer_tensor(index, "ssm_in.weight");
  uint32_t row = 0;
  for (const auto& [slot, rows] :
       {std::pair{Slot::delta_gate, width}, {Slot::conv, p.conv_channels}, {Slot::alpha, p.delta_heads}}) {
    subgraph(layer, SubgraphKind::qkv)
        .push_back(
            linear_op(Slot::normed, slot, weight, bias_if(p.scan_bias, index, "ssm_in.bias"), rows, row));
    row += rows;
  }
  OpList& ops = subgraph(layer, SubgraphKind::attention);
  ops.push_back(convolve_op(p, layer_tensor(index, "ssm_conv1d.weight")));
  ops.back().bias = bias_if(p.conv_bias, index, "ssm_conv1d.bias");
  ops.push_back(activate_op(Slot::conv, Activation::silu));
  Op scan{.kind = OpKind::selective_scan, .input = Slot::conv, .input2 = Slot::alpha, .output = Slot::delta};
  scan.weight = layer_tensor(index, "ssm_a");
  scan.bias = layer_tensor(index, "ssm_dt.bias");
  scan.skip = layer_tensor(index, "ssm_d");
  scan.heads = p.delta_heads;
  scan.key_heads = p.delta_key_heads;
  scan.block = p.delta_size;
  scan.state = p.scan_state;
  ops.push_back(scan);
  ops.push_back(gate_values_op(Activation::silu, Slot::delta_gate, Slot::delta));
  ops.push_back(norm_rms_op(Slot::delta, Slot::delta, layer_tensor(index, "ssm_norm.weight"), p.norm_epsilon,
                            p.delta_key_heads));
  ops.back().own = true;
  add_state_output(layer, p, index);
}

}  // namespace cairn::graph
