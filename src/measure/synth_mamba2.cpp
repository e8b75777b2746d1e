// Synthetic models with Mamba-2: granitehybrid's and nemotron_h's tensors and metadata.
#include <fmt/format.h>

#include "formats/gguf_writer.hpp"
#include "measure/synth.hpp"
#include "measure/synth_plan.hpp"

namespace cairn::measure {
namespace {

using graph::ModelShape;

bool is_nemotron(const ModelShape& s) {
  return s.architecture.starts_with("nemotron_h");
}

char kind_of(const ModelShape& s, uint32_t layer) {
  return s.kinds[layer % s.kinds.size()];
}

class Plan {
 public:
  Plan(const ModelShape& shape, Encoding encoding) : s_(shape), encoding_(encoding) {}

  std::vector<Planned> make() {
    matrix("token_embd", s_.embedding, s_.vocabulary);
    for (uint32_t i = 0; i < s_.layers; ++i) {
      block_ = fmt::format("blk.{}.", i);
      vector("attn_norm.weight", Role::norm, {s_.embedding});
      const char kind = kind_of(s_, i);
      if (kind == 'M') mamba2();
      if (kind == '*') attention();
      const bool single = is_nemotron(s_);
      if (!single) vector("ffn_norm.weight", Role::norm, {s_.embedding});
      if (!single ? s_.experts != 0 : kind == 'E') experts();
      if (!single ? s_.experts == 0 : kind == '-') ffn("");
    }
    block_.clear();
    vector("output_norm.weight", Role::norm, {s_.embedding});
    if (!s_.tied) matrix("output", s_.embedding, s_.vocabulary);
    return std::move(tensors_);
  }

 private:
  void matrix(const std::string& name, uint64_t k, uint64_t rows) {
    tensors_.push_back({block_ + name + ".weight", Role::matrix, {k, rows}, fitting_encoding(encoding_, k)});
  }
  void vector(const std::string& name, Role role, std::vector<uint64_t> shape) {
    tensors_.push_back({block_ + name, role, std::move(shape), Encoding::f32});
  }

  void mamba2() {
    const uint64_t heads = s_.delta_heads, groups = s_.delta_key_heads, width = heads * s_.delta_size;
    const uint64_t channels = width + 2 * groups * s_.scan_state;
    matrix("ssm_in", s_.embedding, width + channels + heads);
    vector("ssm_conv1d.weight", Role::plain, {s_.conv_window, channels});
    vector("ssm_conv1d.bias", Role::bias, {channels});
    vector("ssm_dt.bias", Role::bias, {heads});
    vector("ssm_a", Role::decay, {1, heads});
    vector("ssm_d", Role::norm, {1, heads});
    vector("ssm_norm.weight", Role::norm, {width / groups, groups});
    matrix("ssm_out", width, s_.embedding);
  }

  void attention() {
    const uint64_t query = uint64_t{s_.heads} * s_.head_size, key = uint64_t{s_.kv_heads} * s_.head_size;
    matrix("attn_q", s_.embedding, query);
    matrix("attn_k", s_.embedding, key);
    matrix("attn_v", s_.embedding, key);
    matrix("attn_output", query, s_.embedding);
  }

  void ffn(const std::string& suffix) {
    if (!is_nemotron(s_)) matrix("ffn_gate" + suffix, s_.embedding, s_.ffn);
    matrix("ffn_up" + suffix, s_.embedding, s_.ffn);
    matrix("ffn_down" + suffix, s_.ffn, s_.embedding);
  }

  void experts() {
    vector("ffn_gate_inp.weight", Role::plain, {s_.embedding, s_.experts});
    if (is_nemotron(s_)) vector("exp_probs_b.bias", Role::bias, {s_.experts});
    const auto each = [&](const char* name, uint64_t k, uint64_t rows) {
      matrix(name, k, rows);
      tensors_.back().shape.push_back(s_.experts);
    };
    if (!is_nemotron(s_)) each("ffn_gate_exps", s_.embedding, s_.expert_ffn);
    each("ffn_up_exps", s_.embedding, s_.expert_ffn);
    each("ffn_down_exps", s_.expert_ffn, s_.embedding);
    ffn("_shexp");
  }

  const ModelShape& s_;
  const Encoding encoding_;
  std::string block_{};
  std::vector<Planned> tensors_{};
};

}  // namespace

std::vector<Planned> plan_mamba2(const ModelShape& shape, Encoding encoding) {
  return Plan(shape, encoding).make();
}

void set_mamba2(gguf::Writer& writer, const ModelShape& s) {
  const auto key = [&](std::string_view name) { return fmt::format("{}.{}", s.architecture, name); };
  writer.set(key("ssm.conv_kernel"), s.conv_window);
  writer.set(key("ssm.state_size"), s.scan_state);
  writer.set(key("ssm.group_count"), s.delta_key_heads);
  writer.set(key("ssm.time_step_rank"), s.delta_heads);
  writer.set(key("ssm.inner_size"), s.delta_heads * s.delta_size);
  writer.set(key("rope.scaling.finetuned"), false);
  const uint32_t width = s.experts != 0 ? s.expert_ffn : s.ffn;
  std::vector<int32_t> kv_heads, widths;
  for (uint32_t i = 0; i < s.layers; ++i) {
    const char kind = kind_of(s, i);
    kv_heads.push_back(kind == '*' ? static_cast<int32_t>(s.kv_heads) : 0);
    widths.push_back(kind == '-' || kind == 'E' ? static_cast<int32_t>(width) : 0);
  }
  writer.set(key("attention.head_count_kv"), std::move(kv_heads));
  if (s.experts != 0) writer.set(key("expert_shared_feed_forward_length"), s.ffn);
  if (is_nemotron(s)) {
    writer.set(key("feed_forward_length"), std::move(widths));
    if (s.experts != 0) writer.set(key("expert_weights_scale"), 2.5F);
    return;
  }
  writer.set(key("feed_forward_length"), width);
  // Factors that keep random weights' activations of one size.
  for (const char* name : {"embedding_scale", "residual_scale", "logit_scale"}) writer.set(key(name), 1.0F);
}

}  // namespace cairn::measure
