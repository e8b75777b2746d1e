// graph: a model as op lists, built from hyper-parameters alone; every device interprets the same lists.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace cairn::gguf {
class File;
}

namespace cairn::graph {

// The named activations that ops read and write. Widths are per token; see width().
enum class Slot : uint8_t {
  none,
  tokens,   // token ids, input of the model
  hidden,   // residual stream, [embedding]
  branch,   // what the last linear of a branch wrote, to be added to hidden, [embedding]
  branch2,  // second pending branch of parallel blocks (phi2: attention and ffn add together), [embedding]
  normed,   // input of qkv or gate/up, [embedding]
  query,    // [heads * head_size]
  key,      // [kv_heads * head_size]
  value,    // [kv_heads * head_size]
  context,  // attention's result, [heads * head_size]
  // Of latent attention (see HyperParameters): what queries are made of, where it is compressed too; queries
  // and results of heads as they are without the compression.
  query_latent,   // [query_rank]
  query_heads,    // [heads * (plain_size + rope.dims)]
  context_heads,  // [heads * value_size]
  // Of attention with a gate behind it: queries and gates, a head's one behind the other; the gates alone.
  query_gate,    // [2 * heads * head_size]
  context_gate,  // [heads * head_size]
  // Layers with a recurrent state, see HyperParameters:
  conv,      // what a short convolution reads and leaves, [conv_channels]
  conv_in,   // factors in front of it (lfm2), [conv_channels]
  conv_out,  // … and behind it, [conv_channels]
  alpha,
  beta,        // the gated delta rule's decays and steps, before their functions, [delta_heads]; a selective
               // scan's steps, before theirs, are in alpha
  delta,       // their result, [delta_heads * delta_size]
  delta_gate,  // [delta_heads * delta_size]
  gate,        // [ffn], of the widest layer
  up,          // [ffn]
  // What each layer gets of a token beside the residual stream (gemma4): its own embeddings; these and a
  // projection of the usual one; what a layer makes of its part.
  layer_tokens,  // [layers * layer_width]
  layer_inputs,  // [layers * layer_width]
  layer_gate,    // [layer_width]
  router,        // scores of the experts, then their weights, [experts]
  shared_gate,   // of the expert that all tokens share, [1]
  // Of the layer that drafts, see Draft:
  draft_hidden,  // [embedding]
  draft_input,   // the token's embedding and that, [2 * embedding]
  // What a token's experts compute, in ascending order of the experts (see OpKind::route):
  expert_gate,  // [experts_used * expert_ffn]
  expert_up,    // [experts_used * expert_ffn]
  expert_out,   // [experts_used * embedding]
  logits,       // [vocabulary]
  count,
};

enum class OpKind : uint8_t {
  embed,  // tokens → out: rows of `weight`
  // out = input + a row of `weight`, which has `rows`: add_position that of the token's position (learned
  // positions), add_row row `row_begin` for every token (bert's type of the one text that there is).
  add_position,
  add_row,
  scale,  // out = input * factor (gemma's sqrt(embedding) after embed), times `weight` if there, one number
  norm_rms,    // out = input / sqrt(mean(input²) + epsilon) * weight (1 without); per head when `heads` > 0
  norm_layer,  // out = (input − mean) / sqrt(var + epsilon) * weight + bias
  rotate,      // out = input · R, an orthogonal block-Hadamard over the whole width or each block of `block`
  quantize,    // marks that `input` is read by integer products from here on; a float device ignores it
  linear,      // out = input · Wᵀ + bias; W is rows [row_begin, row_begin + rows) of `weight`
  // Of each of `heads` equal parts of the input the first k: out[h] = W_h · x[h], and what is left of x[h]
  // behind it where out[h] has room. `weight` is [k, rows, heads].
  head_linear,
  rope,       // in place on input; rotary position embedding, see Rope; each head's features from `offset` on
  attention,  // appends key, value to layer's cache; out = softmax(q·kᵀ·factor (capped, masked))·v
  gate,       // out = activation(input) * input2, of which the features from `offset` on
  activate,   // out = activation(input)
  add,        // out = input + input2
  softcap,    // out = factor * tanh(input / factor)
  // Mixtures of experts. route: the `used` largest of `experts` scores (of equal ones those of the lower
  // index) become weights, out[e] = factor * exp(input[e]) / Σ exp(input), the sum being that of the chosen
  // where `normalise` is set, else of all; all others become 0. A score that is no number is an error. With
  // the activation sigmoid, σ(input) stands in exp's place and sums are of the chosen alone, or 1. `weight`,
  // where there is one, multiplies each expert's; `bias` is added to what the choice goes by, and to nothing
  // else (DeepSeek-V3, arXiv 2412.19437, section 2.1.2). Of `groups` equal groups of experts, where there are
  // some, only the `groups_used` best have any chosen: those of the largest score (DeepSeek-V2, arXiv
  // 2405.04434, section 2.2.2), with sigmoid of the largest sum of two.
  route,
  // For each chosen expert e, the j-th in ascending order: out[j] = W_e · x + bias_e; x is the input, or its
  // part j where it is an expert slot. `weight` is [input, rows, experts], `bias` [rows, experts]; or of
  // `all_rows` an expert the `rows` from `row_begin` on.
  expert_linear,
  combine,  // out = Σ_j input2[e_j] * input[j]: what the experts wrote, by the weights of the router
  weigh,    // out = activation(input) * input2; input is one number
  join,     // out = input, input2 one behind the other
  part,     // out = of each of `heads` equal parts of the input the one half: the second if row_begin is 1
  // Recurrent states. convolve: of each channel c, out[c] = Σ_i weight[c][i] * (what the input was `window` −
  // 1 − i positions before)[c] + bias[c]; zeros before the text; in place. `weight` is [window, channels].
  convolve,
  // Gated delta rule (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464, equation 10), in float. The input is
  // [q, k: key_heads * block; v: heads * block]; head h of `heads` has q and k of head h mod key_heads, each
  // divided by sqrt(Σ x² + epsilon), q by sqrt(block) too. With g = weight[h] * softplus(input2[h] + bias[h])
  // and s = sigmoid(beta[h]), the state S, [block, block], zeros before the text, becomes
  // e^g S + k (s (v − kᵀ e^g S)), and out = qᵀ S.
  delta_rule,
  // Selective state space (Mamba-2: Dao, Gu 2024, arXiv 2405.21060, section 3), in float. The input is
  // [x: heads * block; B, C: key_heads * state]; of `key_heads` groups of neighbouring heads each has its B
  // and C. With s = softplus(input2[h] + bias[h]) the state S, [state, block], zeros before the text, becomes
  // e^(weight[h] s) S + B (s x)ᵀ, and out = Cᵀ S + skip[h] x.
  selective_scan,
};

enum class Activation : uint8_t {
  none,
  silu,
  gelu_tanh,
  gelu_erf,
  silu_clamped,  // gpt-oss's, of gates alone: x · σ(1.702 · x) · (y + 1), x at most 7, y between −7 and 7
  sigmoid,       // of gates and weights
  relu_squared,  // x² where x is positive, else 0
};

struct Rope {
  uint32_t dims = 0;  // rotated leading dimensions of each head
  bool neox = false;  // pairs (i, i + dims/2) when true, (2i, 2i+1) when false
  float base = 10000;
  float frequency_scale = 1;   // position multiplier (linear scaling: 1 / factor)
  std::string factors{};       // name of a tensor of dims/2 divisors of the frequencies, or empty
  float attention_factor = 1;  // multiplies cos and sin (YaRN's mscale)
  // YaRN (arXiv 2309.00071, section 3.2): pairs up to `ramp_begin` keep their frequency, those from
  // `ramp_end` on have `frequency_scale`, what lies between goes over evenly. Of `yarn` 0 all are scaled, of
  // 1 as said.
  float yarn = 0, ramp_begin = 0, ramp_end = 0;
  // LongRoPE (arXiv 2402.13753): what load() makes the `factors` of a context beyond `original_context`.
  std::string long_factors{};
  uint32_t original_context = 0;
  // Attention temperature, of queries alone: after each `temperature_length` positions cos and sin are
  // larger, by 1 + temperature · log(1 + ⌊position / temperature_length⌋). 0: none.
  float temperature = 0;
  uint32_t temperature_length = 0;
  bool operator==(const Rope&) const = default;
  bool is_long() const { return !long_factors.empty() && factors == long_factors; }
};

constexpr uint32_t kMostConvWindow = 64;  // positions of a convolution

// One op. Fields that a kind does not use keep their defaults.
struct Op {
  OpKind kind;
  Slot input = Slot::none;
  Slot input2 = Slot::none;
  Slot output = Slot::none;
  std::string weight{};  // tensor names in the model file; attention: of a score for each head that takes
                         // part in the softmax and in nothing else (a sink), or empty
  std::string bias{};
  std::string skip{};  // selective_scan: what each head's x is multiplied with
  // linear: rows of `weight` and of `bias` used (phi2 stores q, k, v in one tensor); see add_row
  uint32_t row_begin = 0;
  uint32_t rows = 0;
  float epsilon = 0;
  float factor = 1;   // scale, attention (1/sqrt(head_size) or its like), softcap, route
  float softcap = 0;  // attention: cap of the scores, 0 = none
  // attention, convolve: sees only the last `window` positions (itself included); attention: 0 = all
  uint32_t window = 0;
  bool causal = true;  // attention: sees no position behind its own; else all of the step's, no others
  // norm_rms, rope, part, delta_rule, selective_scan, head_linear: heads in the slot
  uint32_t heads = 0;
  bool own = false;        // norm_rms: each head has weights of its own, one behind the other
  uint32_t key_heads = 0;  // delta_rule: of queries and keys; selective_scan: groups
  uint32_t block = 0;      // rotate; delta_rule, selective_scan: size of a head; head_linear: k
  uint32_t state = 0;      // selective_scan: rows of a head's state
  // Features of the input, where layers differ: the slot's first; 0 = all that it has.
  uint32_t width = 0;
  uint32_t offset = 0;                   // gate, rope
  uint32_t head_size = 0, kv_heads = 0;  // attention, where layers differ; 0 = the model's
  uint32_t shared = 0;  // attention: reads keys and values of so many layers before and stores none; 0 = own
  bool latent = false;  // attention: the cache holds keys alone, which are the values too
  uint32_t experts = 0, used = 0;        // route, expert_linear, combine: how many there are, and a token has
  bool normalise = false;                // route
  uint32_t groups = 0, groups_used = 0;  // route; 0: none
  uint32_t all_rows = 0;                 // expert_linear; 0: as `rows`
  Activation activation = Activation::none;
  Rope rope{};
};

// The six subgraphs of a layer (llm.npu, ASPLOS '25): static int8 work (qkv, attention_output, ffn) apart
// from float work; only `attention` depends on the chunk's position. Adding a finished branch to hidden is
// float work and therefore opens the next float subgraph: ffn_input adds the attention's branch, the next
// layer's attention_input (or the head) adds the ffn's.
enum class SubgraphKind : uint8_t {
  attention_input,
  qkv,
  attention,
  attention_output,
  ffn_input,
  ffn,
  count
};

using OpList = std::vector<Op>;
using Layer = std::array<OpList, static_cast<size_t>(SubgraphKind::count)>;

struct HyperParameters {
  std::string architecture;  // GGUF's general.architecture
  uint32_t layers = 0, embedding = 0, ffn = 0, vocabulary = 0, context = 0;
  uint32_t heads = 0, kv_heads = 0, head_size = 0;
  float norm_epsilon = 0;
  Rope rope, local_rope{};  // local_rope: of layers with a window, where they have their own (gemma3, olmo2)
  uint32_t window = 0;      // width of local attention, 0 = none
  uint32_t window_pattern = 0;  // every window_pattern-th layer is global (gemma3: 6); 0 = none is
  std::vector<bool> windows{};  // instead of a pattern: which layers are local
  uint32_t no_rope_step = 0;    // every no_rope_step-th layer has no RoPE (smollm3: 4); 0 = all have it
  bool global_rope = true;  // false: layers without a window have no RoPE, where others have one (exaone4)
  float attention_scale = 0;
  float temperature = 0;  // of attention, see Rope, each rope.original_context positions; 0 = none
  float embedding_scale = 1, residual_scale = 1, logit_scale = 1;  // granite's multipliers
  float attention_softcap = 0, logit_softcap = 0;                  // 0 = none
  bool qkv_bias = false, output_bias = false, fused_qkv = false, tied_output = false, qk_norm = false;
  bool attention_output_bias = false, ffn_bias = false;
  bool whole_qk_norm = false;  // q and k norms over all heads together (olmo2), not each by itself
  bool fused_gate_up = false;  // ffn_up holds the gate's rows, then its own (phi3, glm4)
  // Mixtures: how many experts there are (0: it is none), a token has, and how wide each is; ffn is the width
  // of the part that all tokens share, where there is one.
  uint32_t experts = 0, experts_used = 0, expert_ffn = 0;
  bool shared_expert = false;
  bool normalise_experts = true;  // their weights sum to 1
  float expert_scale = 1;         // of the weights
  bool expert_bias = false;       // of router and experts
  bool fused_experts = false;     // ffn_gate_up_exps holds the gate's rows of an expert, then its own
  uint32_t expert_groups = 0, expert_groups_used = 0;  // see OpKind::route; 0: none
  bool sigmoid_experts = false;                        // scores are σ of the router's
  bool choice_bias = false;                            // a bias for each expert, of the choice alone
  bool sinks = false;                                  // of attention, a score for each head
  bool shared_gate = false;  // the expert that all share has a weight of its own for each token
  bool output_gate = false;  // attn_q holds queries and what gates attention's result, head by head
  // Layers with a recurrent state instead of attention; empty: none. Their convolution sees so many positions
  // of so many channels; the heads of the gated delta rule or the selective scan, where they have one, are of
  // one size, and share keys (B, C) in groups.
  std::vector<bool> recurrent{};
  uint32_t conv_window = 0, conv_channels = 0;
  uint32_t delta_heads = 0, delta_key_heads = 0, delta_size = 0;
  uint32_t scan_state = 0;                    // rows of a selective scan's state; 0: it is the delta rule
  bool conv_bias = false, scan_bias = false;  // of a selective scan's convolution, and of its projections
  bool ungated = false;                       // feed-forward parts, experts' too, have no gate (nemotron_h)
  // Of layers with a window, where they differ from the others (gemma4); 0: they do not.
  uint32_t local_head_size = 0, local_kv_heads = 0;
  uint32_t shared_layers = 0;           // the last so many read keys and values of earlier ones
  std::vector<bool> values_are_keys{};  // of each layer: before norms and RoPE
  bool layer_scale = false;             // a factor behind each layer
  uint32_t layer_width = 0;             // of what each layer gets of a token beside the residual stream
  std::vector<uint32_t> ffns{};         // of each layer, where they differ; `ffn` is the widest
  uint32_t dense_layers = 0;            // of a mixture: the first so many have no experts
  // Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; its equation 9 ff. absorbed into
  // the queries): a position's row in the cache has latent_rank features, which are the values, and rope.dims
  // behind them that RoPE turns; head_size is their sum, and there is one kv head. A query has plain_size
  // features before it becomes such a row, and rope.dims. 0: none.
  uint32_t latent_rank = 0, query_rank = 0, plain_size = 0, value_size = 0;

  // Tokens see those behind them too: a text is read in one step, and what comes of it is its hidden states;
  // there is no head.
  bool causal = true;
  uint32_t token_types = 0;  // of learned ones, added to the embedding (bert)
  // Layers behind the model's own that predict further tokens; a single one is known, see Draft. Whether it
  // has these for itself.
  uint32_t draft_layers = 0;
  bool draft_embedding = false, draft_norm = false, draft_head = false;

  bool has_experts(uint32_t layer) const { return experts != 0 && layer >= dense_layers; }
  bool is_recurrent(uint32_t layer) const { return layer < recurrent.size() && recurrent[layer]; }
  // Whether it has attention: neither a recurrent state nor, where layers are one part alone, that part is
  // another.
  bool attends(uint32_t layer) const {
    return !is_recurrent(layer) && !(ungated && layer < ffns.size() && ffns[layer] != 0);
  }
  uint32_t head_size_of(uint32_t layer) const;
  uint32_t kv_heads_of(uint32_t layer) const;
  uint32_t ffn_of(uint32_t layer) const { return ffns.empty() ? ffn : ffns[layer]; }
  // How many layers before this one is the last that has keys and values of its kind; 0: it has its own.
  uint32_t shared_distance(uint32_t layer) const;
  bool is_local(uint32_t layer) const;  // whether its attention sees the window alone
  bool has_rope(uint32_t layer) const;
};

// A layer that predicts the token behind the next one (multi-token prediction; DeepSeek-V3, arXiv 2412.19437,
// section 2.2): of a token and what the head multiplied for the one before it (draft_hidden) it makes its
// hidden state, attends to those of all tokens before, and has a head. Layer `parameters.layers` of caches.
struct Draft {
  OpList embed;  // tokens → hidden
  OpList keys;   // hidden, draft_hidden → hidden, normed, key, value
  OpList rest;   // … → hidden and pending branches
  OpList head;   // → normed, which is draft_hidden for a further token, and logits
  bool empty() const { return embed.empty(); }
};

struct Model {
  HyperParameters parameters;
  OpList embed;  // tokens → hidden
  std::vector<Layer> layers;
  OpList head;                      // hidden → logits (final add, norm, linear)
  Draft draft{};                    // empty: none
  uint32_t width(Slot slot) const;  // floats a token
};

// Reads and checks the hyper-parameters and that every tensor named by the op lists exists in the right
// shape. Errors: unsupported (architecture), format (missing key, sizes that disagree), each naming the file.
HyperParameters read_hyper_parameters(const gguf::File& file);
// A family's op lists from hyper-parameters alone. Error unsupported for an unknown architecture.
Model build(const HyperParameters& parameters);
// Both of the above, then the check of every weight against the file. context: the positions that it will run
// with, by which LongRoPE's divisors are chosen.
Model load(const gguf::File& file, uint32_t context = 0);

// For those who know neither the ops of mixtures of experts nor those of recurrent states, nor of layers that
// differ in heads, nor of models that make embeddings. Error unsupported where the model has some: `path` is
// its file's, `who` the one that does not know them ("stacks do").
void require_plain(const Model& model, const std::string& path, const char* who);
// Whether sequences have what cannot be cut at a position: recurrent states, or a layer's that drafts, which
// keeps the last hidden state.
bool has_state(const Model& model);

// For those who want text of a model. Error unsupported where it makes embeddings.
void require_head(const HyperParameters& parameters, const std::string& path);

const char* name(OpKind kind);
const char* name(Slot slot);
const char* name(SubgraphKind kind);

}  // namespace cairn::graph
