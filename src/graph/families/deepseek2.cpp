// deepseek2: DeepSeek V2, V2 Lite, V3, R1, Kimi K2, GLM-4.7-Flash: multi-head latent attention, its keys and
// values compressed in the cache; experts behind the first layers, chosen in groups, and some that all tokens
// share. Sources: DeepSeek-V2, arXiv 2405.04434; DeepSeek-V3, arXiv 2412.19437.
#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

// Those that predict further tokens lie behind the others, and are passed over.
void read_layers(const gguf::File& file, const Metadata& in, HyperParameters& p) {
  const uint64_t drafts = file.integer(in.key("nextn_predict_layers"), 0);
  if (drafts >= p.layers) {
    fail(ErrorCode::format, "{}: {} is {} of {} layers", in.path(), in.key("nextn_predict_layers"), drafts,
         p.layers);
  }
  p.draft_layers = static_cast<uint32_t>(drafts);
  p.layers -= p.draft_layers;
}

void read_widths(const gguf::File& file, const Metadata& in, HyperParameters& p) {
  if (file.find_tensor("blk.0.attn_kv_b.weight") != nullptr && !in.has("attention.key_length_mla")) {
    fail(ErrorCode::unsupported,
         "{}: tensor blk.0.attn_kv_b.weight: keys and values in one matrix, as converters before 2025 wrote "
         "them, are not supported; files made since have attn_k_b and attn_v_b",
         in.path());
  }
  p.latent_rank = in.size("attention.kv_lora_rank");
  if (file.find_tensor("blk.0.attn_q_a.weight") != nullptr) p.query_rank = in.size("attention.q_lora_rank");
  const uint32_t value = in.size("attention.value_length", p.latent_rank, kMaxSize);
  if (p.head_size != p.latent_rank + p.rope.dims || value != p.latent_rank || p.kv_heads != 1) {
    fail(ErrorCode::format,
         "{}: {} = {} with {} = {}, {} key and value heads, expected one head of {} = {} and {} = {} more",
         in.path(), in.key("attention.key_length"), p.head_size, in.key("attention.value_length"), value,
         p.kv_heads, in.key("attention.kv_lora_rank"), p.latent_rank, in.key("rope.dimension_count"),
         p.rope.dims);
  }
  const uint32_t query = in.size("attention.key_length_mla");
  p.value_size = in.size("attention.value_length_mla");
  if (query <= p.rope.dims) {
    fail(ErrorCode::format, "{}: {} is {}, expected more than {} = {}", in.path(),
         in.key("attention.key_length_mla"), query, in.key("rope.dimension_count"), p.rope.dims);
  }
  p.plain_size = query - p.rope.dims;
  if (const uint64_t width = uint64_t{p.heads} * std::max(query, p.value_size); width > kMaxSize) {
    fail(ErrorCode::format, "{}: {} heads of {} are {} wide, expected at most {}", in.path(), p.heads,
         std::max(query, p.value_size), width, kMaxSize);
  }
}

// YaRN, as these models have it: scores are larger, not cosines and sines (transformers' mscale_all_dim, and
// an mscale that equals it).
void read_scale(const gguf::File& file, const Metadata& in, HyperParameters& p) {
  double scale = 1 / std::sqrt(static_cast<double>(p.plain_size + p.rope.dims));
  const bool yarn = file.text(in.key("rope.scaling.type"), "none") == "yarn";
  if (yarn && in.number("rope.scaling.yarn_log_multiplier", 0) != 0) {
    const double stretch = std::max(-std::log(static_cast<double>(p.rope.frequency_scale)), 0.0);
    const double size = 1 + static_cast<double>(in.positive("rope.scaling.yarn_log_multiplier")) * stretch;
    scale *= size * size;
    p.rope.attention_factor =
        in.positive("rope.scaling.attn_factor", 1) * in.positive("rope.scaling.yarn_attn_factor", 1);
  }
  p.attention_scale = static_cast<float>(scale);
  if (in.number("attention.temperature_scale", 0) != 0) {
    fail(ErrorCode::unsupported, "{}: {} is not supported in architecture '{}'", in.path(),
         in.key("attention.temperature_scale"), p.architecture);
  }
}

void read_groups(const gguf::File& file, const Metadata& in, HyperParameters& p) {
  if (file.integer(in.key("expert_group_count"), 0) <= 1) return;
  p.expert_groups = in.size("expert_group_count");
  p.expert_groups_used = in.size("expert_group_used_count");
  if (p.experts % p.expert_groups != 0 || p.expert_groups_used > p.expert_groups) {
    fail(ErrorCode::format, "{}: {} of {} = {} groups of {} experts", in.path(), p.expert_groups_used,
         in.key("expert_group_count"), p.expert_groups, p.experts);
  }
  const uint32_t size = p.experts / p.expert_groups;
  if (p.experts_used > p.expert_groups_used * size || (p.sigmoid_experts && size < 2)) {
    fail(ErrorCode::format, "{}: {} experts of a token in {} = {} groups of {}", in.path(), p.experts_used,
         in.key("expert_group_used_count"), p.expert_groups_used, size);
  }
}

void read(const gguf::File& file, HyperParameters& p) {
  const Metadata in(file);
  p.rope.neox = false;  // RoPE's pairs lie side by side
  read_layers(file, in, p);
  read_widths(file, in, p);
  read_scale(file, in, p);
  if (p.experts == 0) return;
  const uint64_t dense = file.integer(in.key("leading_dense_block_count"), 0);
  if (dense > p.layers) {
    fail(ErrorCode::format, "{}: {} is {}, but there are {} layers", in.path(),
         in.key("leading_dense_block_count"), dense, p.layers);
  }
  p.dense_layers = static_cast<uint32_t>(dense);
  for (uint32_t i = p.dense_layers; i < p.layers; ++i)
    p.choice_bias |= file.find_tensor(layer_tensor(i, "exp_probs_b.bias")) != nullptr;
  // Only the sigmoid's routers have a bias, and some files leave it unsaid that they are such.
  if (file.integer(in.key("expert_gating_func"), 0) == 0) p.sigmoid_experts = p.choice_bias;
  read_groups(file, in, p);
  const uint64_t shared = file.integer(in.key("expert_shared_count"), 0);
  p.shared_expert = shared != 0;
  if (shared > kMaxSize || shared * p.expert_ffn > kMaxSize) {
    fail(ErrorCode::format, "{}: {} is {}: experts of {} are wider than {}", in.path(),
         in.key("expert_shared_count"), shared, p.expert_ffn, kMaxSize);
  }
  const auto width = p.shared_expert ? static_cast<uint32_t>(shared * p.expert_ffn) : p.expert_ffn;
  for (uint32_t i = 0; i < p.layers; ++i) p.ffns.push_back(i < p.dense_layers ? p.ffn : width);
  p.ffn = *std::max_element(p.ffns.begin(), p.ffns.end());
}

Model build_deepseek2(const HyperParameters& p) {
  return build_sequential(p, {.attention = add_latent_attention});
}

}  // namespace

const Family& deepseek2_family() {
  static constexpr Family family{.architecture = "deepseek2",
                                 .read = read,
                                 .build = build_deepseek2,
                                 .latent = true,
                                 .some_mixtures = true};
  return family;
}

}  // namespace cairn::graph
