#include "graph/graph.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "graph/families/families.hpp"

namespace cairn::graph {

uint32_t Model::width(Slot slot) const {
  const HyperParameters& p = parameters;
  switch (slot) {
    case Slot::tokens:
      return 1;
    case Slot::hidden:
    case Slot::branch:
    case Slot::branch2:
    case Slot::normed:
      return p.embedding;
    case Slot::query:
    case Slot::context:
      return p.heads * std::max(p.head_size, p.local_head_size);
    case Slot::query_latent:
      return p.query_rank;
    case Slot::query_heads:
      return p.latent_rank == 0 ? 0 : p.heads * (p.plain_size + p.rope.dims);
    case Slot::context_heads:
      return p.heads * p.value_size;
    case Slot::key:
    case Slot::value: {
      if (p.latent_rank != 0) return slot == Slot::key ? p.head_size : 0;
      const uint32_t local_heads = p.local_kv_heads == 0 ? p.kv_heads : p.local_kv_heads;
      return std::max(p.kv_heads * p.head_size, p.local_head_size == 0 ? 0 : local_heads * p.local_head_size);
    }
    case Slot::layer_tokens:
    case Slot::layer_inputs:
      return p.layers * p.layer_width;
    case Slot::layer_gate:
      return p.layer_width;
    case Slot::query_gate:
      return p.output_gate ? 2 * p.heads * p.head_size : 0;
    case Slot::context_gate:
      return p.output_gate ? p.heads * p.head_size : 0;
    case Slot::conv:
      return p.conv_channels;
    case Slot::conv_in:
    case Slot::conv_out:
      return p.delta_heads == 0 ? p.conv_channels : 0;
    case Slot::alpha:
      return p.delta_heads;
    case Slot::beta:
      return p.scan_state == 0 ? p.delta_heads : 0;
    case Slot::delta:
    case Slot::delta_gate:
      return p.delta_heads * p.delta_size;
    case Slot::shared_gate:
      return p.shared_gate ? 1 : 0;
    case Slot::draft_hidden:
      return draft.empty() ? 0 : p.embedding;
    case Slot::draft_input:
      return draft.empty() ? 0 : 2 * p.embedding;
    case Slot::gate:
    case Slot::up:
      return p.ffn;
    case Slot::router:
      return p.experts;
    case Slot::expert_gate:
    case Slot::expert_up:
      return p.experts_used * p.expert_ffn;
    case Slot::expert_out:
      return p.experts_used * p.embedding;
    case Slot::logits:
      return p.vocabulary;
    case Slot::none:
    case Slot::count:
      break;
  }
  return 0;
}

bool HyperParameters::is_local(uint32_t layer) const {
  if (window == 0) return false;
  if (!windows.empty()) return windows[layer];
  return window_pattern == 0 || (layer + 1) % window_pattern != 0;
}

uint32_t HyperParameters::head_size_of(uint32_t layer) const {
  return local_head_size != 0 && is_local(layer) ? local_head_size : head_size;
}

uint32_t HyperParameters::kv_heads_of(uint32_t layer) const {
  return local_kv_heads != 0 && is_local(layer) ? local_kv_heads : kv_heads;
}

uint32_t HyperParameters::shared_distance(uint32_t layer) const {
  const uint32_t own = layers - shared_layers;
  if (layer < own) return 0;
  uint32_t at = own;
  while (at > 0 && is_local(at - 1) != is_local(layer)) --at;
  return at == 0 ? 0 : layer - (at - 1);
}

bool HyperParameters::has_rope(uint32_t layer) const {
  if (no_rope_step != 0 && (layer + 1) % no_rope_step == 0) return false;
  return global_rope || window == 0 || is_local(layer);
}

Model build(const HyperParameters& parameters) {
  return find_family(parameters.architecture, "").build(parameters);
}

void require_plain(const Model& model, const std::string& path, const char* who) {
  if (!model.parameters.causal) {
    fail(ErrorCode::unsupported,
         "{}: {} not know attention to what lies behind: architecture '{}' makes embeddings", path, who,
         model.parameters.architecture);
  }
  for (const Layer& layer : model.layers) {
    for (const OpList& ops : layer) {
      for (const Op& op : ops) {
        const char* what = op.kind == OpKind::route         ? "is a mixture of experts"
                           : op.kind == OpKind::convolve    ? "has a recurrent state"
                           : op.kind == OpKind::part        ? "gates attention's result"
                           : op.kind == OpKind::head_linear ? "has attention to compressed keys and values"
                           : op.shared != 0                 ? "shares keys and values between layers"
                           : op.head_size != 0              ? "has heads of several sizes"
                                                            : nullptr;
        if (what == nullptr) continue;
        fail(ErrorCode::unsupported, "{}: {} not know the op '{}': architecture '{}' {}", path, who,
             name(op.kind), model.parameters.architecture, what);
      }
    }
  }
}

void require_head(const HyperParameters& parameters, const std::string& path) {
  if (parameters.causal) return;
  fail(ErrorCode::unsupported, "{}: architecture '{}' makes embeddings, no text (see `cairn embed`)", path,
       parameters.architecture);
}

bool has_state(const Model& model) {
  const std::vector<bool>& recurrent = model.parameters.recurrent;
  return !model.draft.empty() || std::find(recurrent.begin(), recurrent.end(), true) != recurrent.end();
}

const char* name(OpKind kind) {
  switch (kind) {
    case OpKind::embed:
      return "embed";
    case OpKind::add_position:
      return "add_position";
    case OpKind::add_row:
      return "add_row";
    case OpKind::scale:
      return "scale";
    case OpKind::norm_rms:
      return "norm_rms";
    case OpKind::norm_layer:
      return "norm_layer";
    case OpKind::rotate:
      return "rotate";
    case OpKind::quantize:
      return "quantize";
    case OpKind::linear:
      return "linear";
    case OpKind::head_linear:
      return "head_linear";
    case OpKind::rope:
      return "rope";
    case OpKind::attention:
      return "attention";
    case OpKind::gate:
      return "gate";
    case OpKind::activate:
      return "activate";
    case OpKind::add:
      return "add";
    case OpKind::softcap:
      return "softcap";
    case OpKind::route:
      return "route";
    case OpKind::expert_linear:
      return "expert_linear";
    case OpKind::combine:
      return "combine";
    case OpKind::weigh:
      return "weigh";
    case OpKind::join:
      return "join";
    case OpKind::part:
      return "part";
    case OpKind::convolve:
      return "convolve";
    case OpKind::delta_rule:
      return "delta_rule";
    case OpKind::selective_scan:
      return "selective_scan";
  }
  return "?";
}

const char* name(Slot slot) {
  switch (slot) {
    case Slot::none:
      return "none";
    case Slot::tokens:
      return "tokens";
    case Slot::hidden:
      return "hidden";
    case Slot::branch:
      return "branch";
    case Slot::branch2:
      return "branch2";
    case Slot::normed:
      return "normed";
    case Slot::query:
      return "query";
    case Slot::key:
      return "key";
    case Slot::value:
      return "value";
    case Slot::context:
      return "context";
    case Slot::query_latent:
      return "query_latent";
    case Slot::query_heads:
      return "query_heads";
    case Slot::context_heads:
      return "context_heads";
    case Slot::query_gate:
      return "query_gate";
    case Slot::context_gate:
      return "context_gate";
    case Slot::conv:
      return "conv";
    case Slot::conv_in:
      return "conv_in";
    case Slot::conv_out:
      return "conv_out";
    case Slot::alpha:
      return "alpha";
    case Slot::beta:
      return "beta";
    case Slot::delta:
      return "delta";
    case Slot::delta_gate:
      return "delta_gate";
    case Slot::shared_gate:
      return "shared_gate";
    case Slot::layer_tokens:
      return "layer_tokens";
    case Slot::layer_inputs:
      return "layer_inputs";
    case Slot::layer_gate:
      return "layer_gate";
    case Slot::draft_hidden:
      return "draft_hidden";
    case Slot::draft_input:
      return "draft_input";
    case Slot::gate:
      return "gate";
    case Slot::up:
      return "up";
    case Slot::router:
      return "router";
    case Slot::expert_gate:
      return "expert_gate";
    case Slot::expert_up:
      return "expert_up";
    case Slot::expert_out:
      return "expert_out";
    case Slot::logits:
      return "logits";
    case Slot::count:
      break;
  }
  return "?";
}

const char* name(SubgraphKind kind) {
  switch (kind) {
    case SubgraphKind::attention_input:
      return "attention_input";
    case SubgraphKind::qkv:
      return "qkv";
    case SubgraphKind::attention:
      return "attention";
    case SubgraphKind::attention_output:
      return "attention_output";
    case SubgraphKind::ffn_input:
      return "ffn_input";
    case SubgraphKind::ffn:
      return "ffn";
    case SubgraphKind::count:
      break;
  }
  return "?";
}

}  // namespace cairn::graph
