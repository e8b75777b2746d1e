// qwen35: Qwen 3.5, 3.6 and 3.8, dense, the text part: of four layers three gated delta nets behind a short
// convolution, and one attention whose result is gated; RoPE on a quarter of each head. Sources: Gated Delta
// Networks, arXiv 2412.06464; transformers' Qwen3_5ForCausalLM.
#include <algorithm>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kDefaultInterval = 4;  // the last of so many layers has attention

void read_delta(const Metadata& in, HyperParameters& p) {
  p.conv_window = in.size("ssm.conv_kernel", kMostConvWindow);
  p.delta_size = in.size("ssm.state_size", kMaxDeltaSize);
  const uint32_t width = read_state_heads(in, p);
  if (width != p.delta_heads * p.delta_size) {
    fail(ErrorCode::unsupported, "{}: {} is {}, expected {} heads of {}", in.path(), in.key("ssm.inner_size"),
         width, p.delta_heads, p.delta_size);
  }
  check_state(in, width, p.delta_size);
  p.conv_channels = width + 2 * p.delta_key_heads * p.delta_size;
}

void read(const gguf::File& file, HyperParameters& p) {
  const Metadata in(file);
  p.qk_norm = p.output_gate = true;
  // Layer 0, which read_hyper_parameters() looked at, has no attention.
  p.fused_qkv = false;
  const uint64_t drafts = file.integer(in.key("nextn_predict_layers"), 0);
  if (drafts >= p.layers) {
    fail(ErrorCode::format, "{}: {} is {} of {} layers", in.path(), in.key("nextn_predict_layers"), drafts,
         p.layers);
  }
  p.draft_layers = static_cast<uint32_t>(drafts);
  p.layers -= p.draft_layers;
  const auto drafts_with = [&](const char* part) {
    return file.find_tensor(layer_tensor(p.layers, part)) != nullptr;
  };
  p.draft_embedding = drafts_with("nextn.embed_tokens.weight");
  p.draft_norm = drafts_with("nextn.shared_head_norm.weight");
  p.draft_head = drafts_with("nextn.shared_head_head.weight");
  p.recurrent = in.flags("attention.recurrent_layers", p.layers + p.draft_layers);
  const uint32_t interval = in.size("full_attention_interval", kDefaultInterval, kMaxSize);
  for (uint32_t i = static_cast<uint32_t>(p.recurrent.size()); i < p.layers; ++i)
    p.recurrent.push_back((i + 1) % interval != 0);
  p.recurrent.resize(p.layers);
  if (std::find(p.recurrent.begin(), p.recurrent.end(), false) == p.recurrent.end())
    fail(ErrorCode::unsupported, "{}: no layer of {} has attention", in.path(), p.layers);
  read_delta(in, p);
  if (p.experts == 0) return;
  p.shared_expert = p.shared_gate = in.has("expert_shared_feed_forward_length");
  if (p.shared_expert) p.ffn = in.size("expert_shared_feed_forward_length");
}

Model build_qwen35(const HyperParameters& p) {
  const SequentialStyle style{.ffn_norm = "post_attention_norm.weight", .recurrent = add_delta_net};
  Model model = build_sequential(p, style);
  if (p.draft_layers == 1) model.draft = build_draft(p, style);
  return model;
}

}  // namespace

const Family& qwen35_family() {
  static constexpr Family family{
      .architecture = "qwen35", .read = read, .build = build_qwen35, .recurrent = true};
  return family;
}

const Family& qwen35moe_family() {
  static constexpr Family family{
      .architecture = "qwen35moe", .read = read, .build = build_qwen35, .mixture = true, .recurrent = true};
  return family;
}

}  // namespace cairn::graph
