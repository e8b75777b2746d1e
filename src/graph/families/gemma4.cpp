// gemma4: Gemma 4 (text: E2B, E4B, 12B, 31B, 26B-A4B): gemma3's block; queries and keys normed so that scores
// need no factor, values normed too; global layers with larger heads, in some fewer of them, whose values may
// be their keys; the last layers may read keys and values of earlier ones; in the small ones each layer gets
// an embedding of the token of its own; a factor behind each layer. In the mixture experts beside the ffn,
// each of both with norms of its own. Source: transformers' modeling_gemma4.py.
#include <cmath>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr double kDefaultLocalBase = 10000;

void read_kv_heads(const Metadata& in, HyperParameters& p) {
  constexpr const char* kKey = "attention.head_count_kv";
  if (!in.is_list(kKey)) return;
  const std::vector<uint32_t> heads = in.list(kKey, p.layers, kMaxSize);
  for (uint32_t i = 0; i < p.layers; ++i) {
    uint32_t& kind = p.is_local(i) ? p.local_kv_heads : p.kv_heads;
    if (p.is_local(i) && kind == 0) kind = heads[i];
    if (heads[i] == 0 || p.heads % heads[i] != 0 || heads[i] != kind) {
      fail(ErrorCode::format, "{}: {} is {} for layer {}, expected {}, that divides {} heads", in.path(),
           in.key(kKey), heads[i], i, kind, p.heads);
    }
  }
}

void read(const gguf::File& file, HyperParameters& p) {
  const Metadata in(file);
  p.qk_norm = true;
  p.window = in.size("attention.sliding_window", kMaxContext);
  p.windows = in.windows(p.layers);
  if (p.windows.empty())
    fail(ErrorCode::format, "{}: there is no {}", in.path(), in.key("attention.sliding_window_pattern"));
  p.attention_scale = in.positive("attention.scale", 1);
  p.local_head_size = in.size("attention.key_length_swa");
  if (const uint32_t value = in.size("attention.value_length_swa"); value != p.local_head_size) {
    fail(ErrorCode::unsupported, "{}: {} = {} differs from the key's {}", in.path(),
         in.key("attention.value_length_swa"), value, p.local_head_size);
  }
  if (const uint64_t width = uint64_t{p.heads} * p.local_head_size; width > kMaxSize) {
    fail(ErrorCode::format, "{}: {} heads of {} = {} are {} wide, expected at most {}", in.path(), p.heads,
         in.key("attention.key_length_swa"), p.local_head_size, width, kMaxSize);
  }
  read_kv_heads(in, p);
  p.local_rope = unscaled(p.rope, in.positive("rope.freq_base_swa", kDefaultLocalBase));
  p.local_rope.dims = in.size("rope.dimension_count_swa", p.local_head_size, kMaxSize);
  if (p.local_rope.dims > p.local_head_size || p.local_rope.dims % 2 != 0) {
    fail(ErrorCode::format, "{}: {} is {}, expected an even number up to the head's size {}", in.path(),
         in.key("rope.dimension_count_swa"), p.local_rope.dims, p.local_head_size);
  }
  const uint64_t shared = file.integer(in.key("attention.shared_kv_layers"), 0);
  if (shared >= p.layers) {
    fail(ErrorCode::format, "{}: {} is {}, but there are {} layers", in.path(),
         in.key("attention.shared_kv_layers"), shared, p.layers);
  }
  p.shared_layers = static_cast<uint32_t>(shared);
  for (uint32_t i = p.layers - p.shared_layers; i < p.layers; ++i) {
    if (p.shared_distance(i) == 0)
      fail(ErrorCode::format, "{}: layer {} reads keys of an earlier layer with {}, and there is none",
           in.path(), i, p.is_local(i) ? "a window" : "no window");
  }
  if (file.integer(in.key("embedding_length_per_layer_input"), 0) != 0)
    p.layer_width = in.size("embedding_length_per_layer_input");
  if (const uint64_t all = uint64_t{p.layer_width} * p.layers; all > kMaxSize)
    fail(ErrorCode::format, "{}: {} layers' inputs of {} are {} wide, expected at most {}", in.path(),
         p.layers, p.layer_width, all, kMaxSize);
  p.layer_scale = file.find_tensor("blk.0.layer_output_scale.weight") != nullptr;
  for (uint32_t i = 0; i < p.layers; ++i) {
    const bool own = p.shared_distance(i) == 0;
    p.values_are_keys.push_back(own && file.find_tensor(layer_tensor(i, "attn_v.weight")) == nullptr);
  }
}

// One layer's ops.
class LayerOps {
 public:
  LayerOps(const HyperParameters& p, uint32_t layer)
      : p_(p),
        layer_(layer),
        own_(p.shared_distance(layer) == 0),
        values_are_keys_(!p.values_are_keys.empty() && p.values_are_keys[layer]),
        size_(p.head_size_of(layer)),
        kv_heads_(p.kv_heads_of(layer)),
        query_(p.heads * size_),
        key_(kv_heads_ * size_) {}

  void qkv(OpList& ops) const {
    ops.push_back(linear_op(Slot::normed, Slot::query, tensor("attn_q.weight"), "", query_));
    if (!own_) return;
    ops.push_back(linear_op(Slot::normed, Slot::key, tensor("attn_k.weight"), "", key_));
    if (!values_are_keys_)
      ops.push_back(linear_op(Slot::normed, Slot::value, tensor("attn_v.weight"), "", key_));
  }

  void attention(OpList& ops) const {
    if (own_ && values_are_keys_) ops.push_back(narrow(copy_op(Slot::key, Slot::value), key_));
    const auto norm = [&](Slot slot, const std::string& weight, uint32_t heads) {
      ops.push_back(narrow(norm_rms_op(slot, slot, weight, p_.norm_epsilon, heads), heads * size_));
    };
    norm(Slot::query, tensor("attn_q_norm.weight"), p_.heads);
    if (own_) {
      norm(Slot::key, tensor("attn_k_norm.weight"), kv_heads_);
      norm(Slot::value, "", kv_heads_);
    }
    const Rope& rope = p_.is_local(layer_) ? p_.local_rope : p_.rope;
    ops.push_back(narrow(rope_op(Slot::query, p_.heads, rope), query_));
    if (own_) ops.push_back(narrow(rope_op(Slot::key, kv_heads_, rope), key_));
    Op attention{
        .kind = OpKind::attention, .input = Slot::query, .input2 = Slot::key, .output = Slot::context};
    attention.factor = p_.attention_scale;
    attention.softcap = p_.attention_softcap;
    attention.window = p_.is_local(layer_) ? p_.window : 0;
    attention.head_size = size_;
    attention.kv_heads = kv_heads_;
    attention.shared = p_.shared_distance(layer_);
    ops.push_back(attention);
    ops.push_back(narrow(quantize_op(Slot::context), query_));
  }

  void output(OpList& ops) const {
    ops.push_back(narrow(
        linear_op(Slot::context, Slot::branch, tensor("attn_output.weight"), "", p_.embedding), query_));
  }

  void ffn(OpList& ops) const {
    const uint32_t width = p_.ffn_of(layer_);
    ops.push_back(linear_op(Slot::normed, Slot::gate, tensor("ffn_gate.weight"), "", width));
    ops.push_back(linear_op(Slot::normed, Slot::up, tensor("ffn_up.weight"), "", width));
    ops.push_back(narrow(gate_op(Activation::gelu_tanh), width));
    ops.push_back(narrow(quantize_op(Slot::gate), width));
    ops.push_back(
        narrow(linear_op(Slot::gate, Slot::branch, tensor("ffn_down.weight"), "", p_.embedding), width));
    if (p_.experts != 0) experts(ops);
    branch(ops, "post_ffw_norm.weight");
  }

  // Added to the ffn's branch. The router has its own norm of the residual stream: without a weight, but with
  // factors of the features and 1 / √width, to which the weight's is equal.
  void experts(OpList& ops) const {
    const auto norm = [&](Slot from, Slot to, const char* weight) {
      ops.push_back(norm_rms_op(from, to, tensor(weight), p_.norm_epsilon));
    };
    norm(Slot::branch, Slot::branch, "post_ffw_norm_1.weight");
    norm(Slot::hidden, Slot::normed, "ffn_gate_inp.scale");
    ops.push_back(scale_op(Slot::normed, 1 / std::sqrt(static_cast<float>(p_.embedding))));
    Op route{.kind = OpKind::route};
    route.weight = "ffn_down_exps.scale";
    add_router(ops, p_, layer_, route);
    input(ops, "pre_ffw_norm_2.weight");
    add_expert_products(ops, p_, layer_, Activation::gelu_tanh, Slot::branch2);
    norm(Slot::branch2, Slot::branch2, "post_ffw_norm_2.weight");
    Op add = add_op(Slot::branch2);
    add.input = add.output = Slot::branch;
    ops.push_back(add);
  }

  // What the token's own embedding adds, and the layer's factor.
  void end(OpList& ops) const {
    if (p_.layer_width != 0) {
      ops.push_back(quantize_op(Slot::hidden));
      ops.push_back(linear_op(Slot::hidden, Slot::layer_gate, tensor("inp_gate.weight"), "", p_.layer_width));
      Op gate = gate_op(Activation::gelu_tanh, Slot::layer_gate, Slot::layer_inputs);
      gate.offset = layer_ * p_.layer_width;
      ops.push_back(gate);
      ops.push_back(quantize_op(Slot::layer_gate));
      ops.push_back(linear_op(Slot::layer_gate, Slot::branch, tensor("proj.weight"), "", p_.embedding));
      branch(ops, "post_norm.weight");
    }
    if (!p_.layer_scale) return;
    Op scale = scale_op(Slot::hidden, 1);
    scale.weight = tensor("layer_output_scale.weight");
    ops.push_back(scale);
  }

  void branch(OpList& ops, const char* norm) const {
    ops.push_back(norm_rms_op(Slot::branch, Slot::branch, tensor(norm), p_.norm_epsilon));
    ops.push_back(add_op(Slot::branch));
  }

  void input(OpList& ops, const char* norm) const {
    ops.push_back(norm_rms_op(Slot::hidden, Slot::normed, tensor(norm), p_.norm_epsilon));
    ops.push_back(quantize_op(Slot::normed));
  }

 private:
  static Op narrow(Op op, uint32_t width) {
    op.width = width;
    return op;
  }
  std::string tensor(const char* part) const { return layer_tensor(layer_, part); }

  const HyperParameters& p_;
  const uint32_t layer_;
  const bool own_, values_are_keys_;  // own: keys and values
  const uint32_t size_, kv_heads_, query_, key_;
};

// What each layer gets of the token: its embedding for that layer and a projection of the usual one.
void add_layer_inputs(OpList& ops, const HyperParameters& p) {
  const auto scale = [&](double factor) {
    ops.push_back(scale_op(Slot::layer_inputs, static_cast<float>(factor)));
  };
  ops.push_back(quantize_op(Slot::hidden));
  ops.push_back(linear_op(Slot::hidden, Slot::layer_inputs, "per_layer_model_proj.weight", "",
                          p.layers * p.layer_width));
  scale(1 / std::sqrt(static_cast<double>(p.embedding)));
  ops.push_back(norm_rms_op(Slot::layer_inputs, Slot::layer_inputs, "per_layer_proj_norm.weight",
                            p.norm_epsilon, p.layers));
  Op add = add_op(Slot::layer_tokens);
  add.input = add.output = Slot::layer_inputs;
  ops.push_back(add);
  scale(std::sqrt(0.5));
}

Model build_gemma4(const HyperParameters& p) {
  Model model;
  model.parameters = p;
  model.embed.push_back(embed_op("token_embd.weight"));
  model.embed.push_back(scale_op(Slot::hidden, std::sqrt(static_cast<float>(p.embedding))));
  if (p.layer_width != 0) {
    Op embed = embed_op("per_layer_token_embd.weight");
    embed.output = Slot::layer_tokens;
    model.embed.push_back(embed);
    model.embed.push_back(scale_op(Slot::layer_tokens, std::sqrt(static_cast<float>(p.layer_width))));
  }
  for (uint32_t i = 0; i < p.layers; ++i) {
    Layer& layer = model.layers.emplace_back();
    const LayerOps of(p, i);
    OpList& attention_input = subgraph(layer, SubgraphKind::attention_input);
    if (i == 0 && p.layer_width != 0) add_layer_inputs(attention_input, p);
    of.input(attention_input, "attn_norm.weight");
    of.qkv(subgraph(layer, SubgraphKind::qkv));
    of.attention(subgraph(layer, SubgraphKind::attention));
    of.output(subgraph(layer, SubgraphKind::attention_output));
    OpList& ffn_input = subgraph(layer, SubgraphKind::ffn_input);
    of.branch(ffn_input, "post_attention_norm.weight");
    of.input(ffn_input, "ffn_norm.weight");
    of.ffn(subgraph(layer, SubgraphKind::ffn));
    of.end(subgraph(layer, SubgraphKind::ffn));
  }
  model.head.push_back(norm_rms_op(Slot::hidden, Slot::normed, "output_norm.weight", p.norm_epsilon));
  add_output(model.head, p);
  return model;
}

}  // namespace

const Family& gemma4_family() {
  static constexpr Family family{.architecture = "gemma4",
                                 .read = read,
                                 .build = build_gemma4,
                                 .layers_differ = true,
                                 .some_mixtures = true};
  return family;
}

}  // namespace cairn::graph
