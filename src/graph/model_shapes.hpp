#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cairn::graph {

// The hyper-parameters of a published model.
struct ModelShape {
  std::string_view name, architecture, pre_tokenizer;
  uint32_t layers, context, embedding, ffn, heads, kv_heads, head_size, vocabulary;
  uint32_t rope_dims;
  float rope_base, norm_epsilon;
  bool tied;  // the output head is the embedding
  // Mixtures: see graph::HyperParameters.
  uint32_t experts = 0, experts_used = 0, expert_ffn = 0;
  // Gated delta nets: of so many layers the last has attention, the others a delta net; 0: it has none.
  uint32_t attention_interval = 0, delta_heads = 0, delta_key_heads = 0, delta_size = 0, conv_window = 0;
  // Multi-head latent attention; experts that all tokens share, and layers without any.
  uint32_t latent_rank = 0, query_size = 0, value_size = 0, shared_experts = 0, dense_layers = 0;
  // Mamba-2, its heads as delta nets'. What each layer is, from the first on again where there are more: M
  // Mamba-2, * attention, - a feed-forward part, E experts; each by itself in nemotron_h, the first two with
  // one of the others behind them in granitehybrid.
  std::string_view kinds{};
  uint32_t scan_state = 0;  // rows of a head's state
};

std::span<const ModelShape> model_shapes();
std::string shape_names();  // with commas
// nullptr when unknown.
const ModelShape* find_shape(std::string_view name);

}  // namespace cairn::graph
