#include "convert/mamba_layers.hpp"

namespace cairn::convert {

int32_t kv_heads_of(const Config& config, Kind kind) {
  return kind == Kind::attention ? static_cast<int32_t>(config.kv_heads()) : 0;
}

MambaSizes mamba_sizes(const Config& config, const MambaNames& names, uint64_t width) {
  const MambaSizes s{width, config.size(names.heads), config.size(names.groups), config.size(names.state),
                     config.size(names.window)};
  if (s.width % s.heads != 0)
    config.error(names.heads, fmt::format("is {}, which does not divide the {} channels", s.heads, s.width));
  if (s.heads % s.groups != 0 || s.width % s.groups != 0)
    config.error(names.groups, fmt::format("is {}, which does not divide the {} heads", s.groups, s.heads));
  return s;
}

void mamba_metadata(const MambaSizes& s, ModelMetadata& out) {
  out.size("ssm.conv_kernel", static_cast<uint32_t>(s.window));
  out.size("ssm.state_size", static_cast<uint32_t>(s.state));
  out.size("ssm.group_count", static_cast<uint32_t>(s.groups));
  out.size("ssm.inner_size", static_cast<uint32_t>(s.width));
  out.size("ssm.time_step_rank", static_cast<uint32_t>(s.heads));
}

void mamba_layer(LayerRules& layer, const std::string& from, uint64_t hidden, const MambaSizes& s) {
  const uint64_t channels = s.width + 2 * s.groups * s.state, rows = s.width + channels + s.heads;
  layer.linear(from + "in_proj", "ssm_in", rows, hidden);
  layer.bias(from + "in_proj", "ssm_in", rows);
  layer.rule(from + "conv1d.weight", "ssm_conv1d.weight", {channels, 1, s.window}).squeezed = true;
  layer.bias(from + "conv1d", "ssm_conv1d", channels);
  layer.rule(from + "dt_bias", "ssm_dt.bias", {s.heads});
  TensorRule& rate = layer.rule(from + "A_log", "ssm_a", {s.heads});
  rate.layout = Layout::minus_exp;
  rate.file_shape = {s.heads, 1};
  layer.rule(from + "D", "ssm_d", {s.heads}).file_shape = {s.heads, 1};
  layer.rule(from + "norm.weight", "ssm_norm.weight", {s.width}).file_shape = {s.groups, s.width / s.groups};
  layer.linear(from + "out_proj", "ssm_out", hidden, s.width);
  layer.bias(from + "out_proj", "ssm_out", hidden);
}

void attention_layer(LayerRules& layer, const std::string& from, const TensorPlan& plan) {
  const uint64_t query = plan.heads * plan.head_size, key = plan.kv_heads * plan.head_size;
  const auto turn = [&](TensorRule& rule, uint64_t heads) {
    rule.layout = Layout::neighbours;
    rule.heads = static_cast<uint32_t>(heads);
  };
  turn(layer.linear(from + "q_proj", "attn_q", query, plan.hidden), plan.heads);
  turn(layer.bias(from + "q_proj", "attn_q", query), plan.heads);
  turn(layer.linear(from + "k_proj", "attn_k", key, plan.hidden), plan.kv_heads);
  turn(layer.bias(from + "k_proj", "attn_k", key), plan.kv_heads);
  layer.linear(from + "v_proj", "attn_v", key, plan.hidden);
  layer.bias(from + "v_proj", "attn_v", key);
  layer.linear(from + "o_proj", "attn_output", plan.hidden, query);
  layer.bias(from + "o_proj", "attn_output", plan.hidden);
}

}  // namespace cairn::convert
