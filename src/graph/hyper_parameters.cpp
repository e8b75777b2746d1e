// Hyper-parameters out of a GGUF file's metadata. Key names: ggml's docs/gguf.md and the `gguf` Python
// package.
#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/families/families.hpp"
#include "graph/graph.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint64_t kMaxLayers = 10'000, kMaxExperts = 100'000;

// Of families whose layers have either attention or a recurrent state: which have no kv heads, and how many
// the others have.
uint32_t read_attending(const Metadata& in, HyperParameters& p) {
  constexpr const char* kKey = "attention.head_count_kv";
  uint32_t heads = 0;
  for (const uint32_t n : in.list(kKey, p.layers, kMaxSize)) {
    p.recurrent.push_back(n == 0);
    if (n != 0 && heads != 0 && n != heads) {
      fail(ErrorCode::unsupported, "{}: {} has {} and {}: layers with different kv heads are not supported",
           in.path(), in.key(kKey), heads, n);
    }
    heads = std::max(heads, n);
  }
  if (heads == 0) fail(ErrorCode::unsupported, "{}: {}: no layer has attention", in.path(), in.key(kKey));
  return heads;
}

// A number, or one a layer, as files of Granite 4 have it, all the same.
uint32_t read_kv_heads(const gguf::File& file, const Metadata& in, uint32_t heads) {
  const char* const kKey = "attention.head_count_kv";
  if (!in.is_list(kKey)) return in.size(kKey, heads, kMaxSize);
  const std::vector<int64_t> counts = file.integers(in.key(kKey));
  for (const int64_t count : counts) {
    if (count != counts.front() || count < 1 || static_cast<uint64_t>(count) > kMaxSize)
      fail(ErrorCode::unsupported, "{}: metadata: '{}' holds {} and {}: layers that differ are not supported",
           file.path(), in.key(kKey), counts.front(), count);
  }
  return counts.empty() ? heads : static_cast<uint32_t>(counts.front());
}

void read_attention(const gguf::File& file, const Metadata& in, const Family& family, HyperParameters& p) {
  p.heads = in.size("attention.head_count");
  const bool listed = in.is_list("attention.head_count_kv");
  p.kv_heads = family.recurrent && listed ? read_attending(in, p)
               : family.layers_differ && listed
                   ? in.list("attention.head_count_kv", p.layers, kMaxSize).back()  // a global layer's
                   : read_kv_heads(file, in, p.heads);
  if (p.kv_heads == 0) {
    fail(ErrorCode::format, "{}: {} is 0 for the last layer", file.path(), in.key("attention.head_count_kv"));
  }
  if (p.heads % p.kv_heads != 0) {
    fail(ErrorCode::format, "{}: {} is {}, not a multiple of {} = {}", file.path(),
         in.key("attention.head_count"), p.heads, in.key("attention.head_count_kv"), p.kv_heads);
  }
  if (in.has("attention.key_length")) {
    p.head_size = in.size("attention.key_length");
  } else if (p.embedding % p.heads == 0) {
    p.head_size = p.embedding / p.heads;
  } else {
    fail(ErrorCode::format, "{}: {} = {} does not divide {} = {}, and there is no {}", file.path(),
         in.key("attention.head_count"), p.heads, in.key("embedding_length"), p.embedding,
         in.key("attention.key_length"));
  }
  const uint32_t value_size = in.size("attention.value_length", p.head_size, kMaxSize);
  if (value_size != p.head_size && !family.latent) {
    fail(ErrorCode::unsupported, "{}: {} = {} differs from the key's {}", file.path(),
         in.key("attention.value_length"), value_size, p.head_size);
  }
  if (const uint64_t width = uint64_t{p.heads} * p.head_size; width > kMaxSize) {
    fail(ErrorCode::format, "{}: {} heads of {} are {} wide, expected at most {}", file.path(), p.heads,
         p.head_size, width, kMaxSize);
  }
  p.causal = file.boolean(in.key("attention.causal"), true);
  p.attention_scale = in.positive("attention.scale", 1 / std::sqrt(static_cast<double>(p.head_size)));
  if (in.has("attention.sliding_window") && file.integer(in.key("attention.sliding_window")) != 0) {
    p.window = in.size("attention.sliding_window", kMaxContext);
  }
  if (in.has("attn_logit_softcapping")) p.attention_softcap = in.positive("attn_logit_softcapping");
  if (in.has("final_logit_softcapping")) p.logit_softcap = in.positive("final_logit_softcapping");
}

// YaRN, arXiv 2309.00071: which pairs turn more than beta_fast times within the original context, which less
// than beta_slow times (section 3.2), and the size of cosines and sines (section 3.4).
void read_yarn(const Metadata& in, Rope& rope, bool whole_ramp) {
  const float extrapolation = in.number("rope.scaling.yarn_ext_factor", 1);
  if (extrapolation == 0) return;
  rope.yarn = extrapolation < 0 ? 1 : extrapolation;  // some files say −1 for "as usual"
  if (!(rope.base > 1)) {
    fail(ErrorCode::format, "{}: {} is {}, expected more than 1 with YaRN", in.path(),
         in.key("rope.freq_base"), rope.base);
  }
  // The pair that turns so many times.
  const auto pair = [&](const char* key, double otherwise) {
    const double turns = static_cast<double>(in.positive(key, otherwise));
    return rope.dims * std::log(rope.original_context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(static_cast<double>(rope.base)));
  };
  const double last = rope.dims - 1;
  const double begin = pair("rope.scaling.yarn_beta_fast", 32), end = pair("rope.scaling.yarn_beta_slow", 1);
  rope.ramp_begin = static_cast<float>(std::max(whole_ramp ? begin : std::floor(begin), 0.0));
  rope.ramp_end = static_cast<float>(std::min(whole_ramp ? end : std::ceil(end), last));
  const double stretch = std::max(-std::log(static_cast<double>(rope.frequency_scale)), 0.0);
  double factor = 1 + 0.1 * stretch;
  if (in.has("rope.scaling.yarn_attn_factor")) {
    factor = static_cast<double>(in.positive("rope.scaling.yarn_attn_factor"));
  } else if (in.number("rope.scaling.yarn_log_multiplier", 0) != 0) {
    // mscale_all_dim, beside an mscale of 1.
    factor /= 1 + 0.1 * stretch * static_cast<double>(in.positive("rope.scaling.yarn_log_multiplier"));
  }
  rope.attention_factor *= static_cast<float>(factor);
}

void read_rope(const gguf::File& file, const Metadata& in, const Family& family, HyperParameters& p) {
  p.rope.neox = true;  // what a converter does not permute
  p.rope.dims = in.size("rope.dimension_count", p.head_size, kMaxSize);
  if (p.rope.dims > p.head_size || p.rope.dims % 2 != 0) {
    fail(ErrorCode::format, "{}: {} is {}, expected an even number up to the head's size {}", file.path(),
         in.key("rope.dimension_count"), p.rope.dims, p.head_size);
  }
  p.rope.base = in.positive("rope.freq_base", 10000);
  p.rope.attention_factor = in.positive("rope.scaling.attn_factor", 1);
  p.rope.original_context = in.size("rope.scaling.original_context_length", p.context, kMaxContext);
  const std::string scaling(file.text(in.key("rope.scaling.type"), "linear"));
  if (scaling == "linear" || scaling == "yarn") {
    // rope.scale_linear is the older name of the same factor.
    const char* factor = in.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    // Some files say 0 for "none".
    const bool none = in.has(factor) && file.number(in.key(factor)) == 0;
    p.rope.frequency_scale = none ? 1.0F : 1 / in.positive(factor, 1);
    if (scaling == "yarn") read_yarn(in, p.rope, family.whole_ramp);
  } else if (scaling != "none" && scaling != "longrope") {
    fail(ErrorCode::unsupported, "{}: {} '{}' is not supported (known: none, linear, yarn, longrope)",
         file.path(), in.key("rope.scaling.type"), scaling);
  }
  // Llama 3's divisors, which the converter computes from the rope_scaling of type llama3.
  const auto divisors = [&](const char* name) {
    return std::string(file.find_tensor(name) != nullptr ? name : "");
  };
  p.rope.factors = divisors("rope_freqs.weight");
  if (!p.rope.factors.empty()) return;
  p.rope.factors = divisors("rope_factors_short.weight");
  p.rope.long_factors = divisors("rope_factors_long.weight");
  if (p.rope.factors.empty() != p.rope.long_factors.empty()) {
    fail(ErrorCode::format, "{}: tensor {} is there without its counterpart", file.path(),
         p.rope.factors.empty() ? p.rope.long_factors : p.rope.factors);
  }
  if (scaling == "longrope" && p.rope.factors.empty()) {
    fail(ErrorCode::format, "{}: {} is 'longrope', but there is no tensor rope_factors_long.weight",
         file.path(), in.key("rope.scaling.type"));
  }
}

void read_experts(const gguf::File& file, const Metadata& in, const Family& family, HyperParameters& p) {
  const uint64_t experts = file.integer(in.key("expert_count"), 0);
  if (family.some_mixtures && experts == 0) return;
  if (!family.mixture && !family.some_mixtures) {
    if (experts == 0) return;
    fail(ErrorCode::unsupported, "{}: {} is {}: mixtures of experts are not supported in architecture '{}'",
         file.path(), in.key("expert_count"), experts, p.architecture);
  }
  p.experts = in.size("expert_count", kMaxExperts);
  p.experts_used = in.size("expert_used_count", kMaxExperts);
  if (p.experts_used > p.experts) {
    fail(ErrorCode::format, "{}: {} is {}, more than {} = {}", file.path(), in.key("expert_used_count"),
         p.experts_used, in.key("expert_count"), p.experts);
  }
  p.expert_ffn = in.size("expert_feed_forward_length", p.ffn, kMaxSize);
  if (const uint64_t width = uint64_t{p.experts_used} * std::max(p.expert_ffn, p.embedding);
      width > kMaxSize) {
    fail(ErrorCode::format, "{}: a token's {} experts are {} wide, expected at most {}", file.path(),
         p.experts_used, width, kMaxSize);
  }
  // 1 is the softmax that all families have, 2 a sigmoid, which few do, 3 softmax over the chosen alone; 0
  // leaves it to the architecture.
  const uint64_t gating = file.integer(in.key("expert_gating_func"), 0);
  if (gating > 3 || (gating == 2 && !family.latent && !family.single_parts)) {
    fail(ErrorCode::unsupported, "{}: {} is {}, but experts are chosen by softmax alone (1)", file.path(),
         in.key("expert_gating_func"), gating);
  }
  p.sigmoid_experts = gating == 2;
  p.normalise_experts = file.boolean(in.key("expert_weights_norm"), !family.latent) || gating == 3;
  // Some files say 0 for "none".
  if (in.number("expert_weights_scale", 0) != 0) p.expert_scale = in.positive("expert_weights_scale");
}

// What the tensors alone tell: the vocabulary's size and which optional tensors there are. The first layer of
// a kind stands for all; load() compares every layer.
void read_tensors(const gguf::File& file, HyperParameters& p) {
  std::map<std::string, uint64_t, std::less<>> stacked;  // rows of what a stack keeps as blocks
  if (stack::is_stack(file)) {
    for (const stack::Matrix& m : stack::read_layout(file).matrices) stacked.emplace(m.name, m.rows);
  }
  const auto has = [&](std::string_view tensor) {
    return file.find_tensor(tensor) != nullptr || stacked.contains(tensor);
  };
  const auto embedding = stacked.find("token_embd.weight");
  const uint64_t rows =
      embedding != stacked.end() ? embedding->second : file.tensor("token_embd.weight").rows();
  if (rows < 1 || rows > kMaxSize) {
    fail(ErrorCode::format, "{}: tensor token_embd.weight has {} rows, expected 1 to {}", file.path(), rows,
         kMaxSize);
  }
  p.vocabulary = static_cast<uint32_t>(rows);
  if (const size_t tokens = file.texts("tokenizer.ggml.tokens").size();
      tokens != 0 && tokens != p.vocabulary) {
    fail(ErrorCode::format, "{}: tokenizer.ggml.tokens has {} entries, but tensor token_embd.weight {} rows",
         file.path(), tokens, p.vocabulary);
  }
  p.tied_output = !has("output.weight");
  p.output_bias = has("output.bias");
  uint32_t attends = 0, ffn = 0;
  while (attends + 1 < p.layers && p.is_recurrent(attends)) ++attends;
  while (ffn + 1 < p.layers && p.ffn_of(ffn) == 0) ++ffn;
  p.fused_qkv = has(layer_tensor(attends, "attn_qkv.weight"));
  p.qkv_bias = has(layer_tensor(attends, p.fused_qkv ? "attn_qkv.bias" : "attn_q.bias"));
  p.attention_output_bias = has(layer_tensor(attends, "attn_output.bias"));
  p.ffn_bias = has(layer_tensor(ffn, "ffn_up.bias"));
  for (uint32_t i = 0; i < p.layers && p.experts != 0; ++i)  // the first may have none
    p.fused_experts |= has(layer_tensor(i, "ffn_gate_up_exps.weight"));
}

}  // namespace

HyperParameters read_hyper_parameters(const gguf::File& file) {
  HyperParameters p;
  p.architecture = file.text("general.architecture");
  const Family& family = find_family(p.architecture, file.path());
  const Metadata in(file);
  p.layers = in.size("block_count", kMaxLayers);
  p.embedding = in.size("embedding_length");
  if (family.layers_differ && in.is_list("feed_forward_length")) {
    p.ffns = in.list("feed_forward_length", p.layers, kMaxSize);
    p.ffn = *std::max_element(p.ffns.begin(), p.ffns.end());
    if (*std::min_element(p.ffns.begin(), p.ffns.end()) == 0)
      fail(ErrorCode::format, "{}: {} holds a 0", file.path(), in.key("feed_forward_length"));
  }
  if (family.single_parts) {
    p.ffns = in.list("feed_forward_length", p.layers, kMaxSize);
    p.ffn = *std::max_element(p.ffns.begin(), p.ffns.end());
    if (p.ffn == 0)
      fail(ErrorCode::unsupported, "{}: {}: no layer has a feed-forward part", file.path(),
           in.key("feed_forward_length"));
  }
  // Where all layers have experts, some files give their width alone.
  if (p.ffns.empty())
    p.ffn = in.size(family.mixture && !in.has("feed_forward_length") ? "expert_feed_forward_length"
                                                                     : "feed_forward_length");
  p.context = in.size("context_length", kMaxContext);
  read_experts(file, in, family, p);
  p.norm_epsilon = in.positive(in.has("attention.layer_norm_rms_epsilon") ? "attention.layer_norm_rms_epsilon"
                                                                          : "attention.layer_norm_epsilon");
  read_attention(file, in, family, p);
  read_rope(file, in, family, p);
  read_tensors(file, p);
  family.read(file, p);
  if (p.causal != family.causal) {
    fail(ErrorCode::unsupported, "{}: {} is {}, which architecture '{}' is not known for", file.path(),
         in.key("attention.causal"), p.causal, p.architecture);
  }
  return p;
}

}  // namespace cairn::graph
