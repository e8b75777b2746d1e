#include "convert/names.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.hpp"
#include "convert/experts.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// Beside q and k only.
constexpr std::string_view kQuery = "attn_q", kKey = "attn_k";

bool has_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

// What follows from the config, or is used by training alone.
bool is_derived(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attention.masked_bias") ||
         name.ends_with(".attention.bias");
}

bool is_of_pictures(std::string_view name) {
  return has_any(name, {"vision_", "visual.", "vision.", "audio_", "audio.", "projector.", "patch_embed",
                        "patch_merger.", "image_newline"});
}

// fp8's scales of inputs and of keys and values: kept by nobody.
bool is_unused_scale(std::string_view name) {
  return name.ends_with("activation_scale") || name.ends_with(".input_scale") || name.ends_with(".k_scale") ||
         name.ends_with(".v_scale");
}

// Scales of weights, by the weight's name.
std::string scaled_weight(const std::string& name) {
  for (const std::string_view suffix : {"_scale_inv", "_scale"}) {
    if (name.ends_with(suffix) && name.ends_with(".weight" + std::string(suffix)))
      return name.substr(0, name.size() - suffix.size());
  }
  return {};
}

// A text model inside of another has a name before its tensors' names.
std::string plain_name(std::string name) {
  constexpr std::string_view kPrefix = "language_model.";
  for (size_t at = name.find(kPrefix); at != std::string::npos; at = name.find(kPrefix))
    name.erase(at, kPrefix.size());
  return name;
}

void check_numbers(const std::string& file, const SourceTensor& t, const SourceTensor* scale) {
  if (t.dtype == Dtype::other)
    fail(ErrorCode::unsupported,
         "{}: tensor {}: numbers of kind {} are not read (F32, F16, BF16, F8_E4M3 are)", file, quote(t.name),
         t.dtype_name);
  if (!scale) return;
  if (t.dtype != Dtype::f8_e4m3)
    fail(ErrorCode::unsupported, "{}: tensor {} has a scale, but is {}; F8_E4M3 alone is scaled", file,
         quote(t.name), t.dtype_name);
  if (scale->dtype == Dtype::other || scale->dtype == Dtype::f8_e4m3)
    fail(ErrorCode::unsupported, "{}: tensor {}: scales of kind {} are not read", file, quote(scale->name),
         scale->dtype_name);
}

}  // namespace

uint64_t Turns::source(uint64_t at) const {
  if (!any() || at < first) return at;
  const uint64_t head = (at - first) / size;
  return first + (head % groups * each + head / groups) * size + (at - first) % size;
}

TensorPlan::TensorPlan(const Config& config)
    : hidden(config.size("hidden_size")),
      ffn(config.size(ffn_key(config))),
      heads(config.heads()),
      kv_heads(config.kv_heads()),
      head_size(config.head_size()),
      vocabulary(config.size("vocab_size")),
      layers(config.layers()),
      config_(config) {
  constexpr uint32_t kMostLayers = 4096;
  if (layers > kMostLayers)
    config.error("num_hidden_layers", fmt::format("is {}, more than {}", layers, kMostLayers));
  if (heads % kv_heads != 0)
    config.error("num_attention_heads",
                 fmt::format("is {}, no multiple of the {} key-value heads", heads, kv_heads));
}

TensorRule TensorPlan::layer_rule(uint32_t layer, std::string_view from, std::string_view to,
                                  const char* kind) const {
  TensorRule rule;
  rule.from = fmt::format("model.layers.{}.{}.{}", layer, from, kind);
  rule.to = fmt::format("blk.{}.{}.{}", layer, to, kind);
  return rule;
}

void TensorPlan::set_layout(TensorRule& rule, std::string_view part) const {
  if (!permuted || (part != kQuery && part != kKey)) return;
  if (head_size % 2 != 0)
    config_.error("head_dim", fmt::format("is {}, but RoPE turns pairs of a head's elements", head_size));
  rule.layout = Layout::neighbours;
  rule.heads = static_cast<uint32_t>(part == kQuery ? heads : kv_heads);
}

void TensorPlan::linear(std::string_view from, std::string_view to, uint64_t rows, uint64_t columns) {
  for (uint32_t i = 0; i < layers; ++i) {
    TensorRule rule = layer_rule(i, from, to, "weight");
    rule.shape = {rows, columns};
    set_layout(rule, to);
    add(std::move(rule));
  }
}

void TensorPlan::bias(std::string_view from, std::string_view to, uint64_t rows, bool optional) {
  for (uint32_t i = 0; i < layers; ++i) {
    TensorRule rule = layer_rule(i, from, to, "bias");
    rule.shape = {rows};
    rule.optional = optional;
    set_layout(rule, to);
    add(std::move(rule));
  }
}

void TensorPlan::norm(std::string_view from, std::string_view to, uint64_t width) {
  for (uint32_t i = 0; i < layers; ++i) {
    TensorRule rule = layer_rule(i, from, to, "weight");
    rule.shape = {width};
    if (norms_plus_one) rule.layout = Layout::plus_one;
    add(std::move(rule));
  }
}

void TensorPlan::outer(std::string_view last_norm, std::string_view in_file) {
  add({"model.embed_tokens.weight", "token_embd.weight", {vocabulary, hidden}});
  add({fmt::format("model.{}.weight", last_norm),
       fmt::format("{}.weight", in_file),
       {hidden},
       norms_plus_one ? Layout::plus_one : Layout::plain});
  add({"lm_head.weight",
       "output.weight",
       {vocabulary, hidden},
       Layout::plain,
       0,
       headless || config_.flag("tie_word_embeddings", true)});
}

void TensorPlan::attention(bool biased) {
  const uint64_t query = heads * head_size, key = kv_heads * head_size;
  linear("self_attn.q_proj", kQuery, query, hidden);
  bias("self_attn.q_proj", kQuery, query, !biased);
  linear("self_attn.k_proj", kKey, key, hidden);
  bias("self_attn.k_proj", kKey, key, !biased);
  linear("self_attn.v_proj", "attn_v", key, hidden);
  bias("self_attn.v_proj", "attn_v", key, !biased);
  linear("self_attn.o_proj", "attn_output", hidden, query);
  bias("self_attn.o_proj", "attn_output", hidden, true);
}

void TensorPlan::gated_ffn() {
  linear("mlp.gate_proj", "ffn_gate", ffn, hidden);
  bias("mlp.gate_proj", "ffn_gate", ffn, true);
  linear("mlp.up_proj", "ffn_up", ffn, hidden);
  bias("mlp.up_proj", "ffn_up", ffn, true);
  linear("mlp.down_proj", "ffn_down", hidden, ffn);
  bias("mlp.down_proj", "ffn_down", hidden, true);
}

std::vector<PlannedTensor> match_tensors(const Checkpoint& checkpoint, const TensorPlan& plan,
                                         std::string_view architecture, bool multimodal) {
  std::multimap<std::string_view, const TensorRule*> rules;
  for (const TensorRule& rule : plan.rules()) rules.emplace(rule.from, &rule);
  std::map<std::string, const SourceTensor*> scales;
  for (const SourceTensor* t : checkpoint.tensors()) {
    if (const std::string weight = scaled_weight(t->name); checkpoint.find(weight)) scales.emplace(weight, t);
    if (const std::string codes = mxfp4_codes(t->name); checkpoint.find(codes)) scales.emplace(codes, t);
  }
  std::set<const TensorRule*> used;
  std::vector<PlannedTensor> out;
  for (const SourceTensor* t : checkpoint.tensors()) {
    if (is_derived(t->name) || is_unused_scale(t->name)) continue;
    if (multimodal && is_of_pictures(t->name)) continue;
    if (checkpoint.find(scaled_weight(t->name)) || checkpoint.find(mxfp4_codes(t->name))) continue;
    const std::string& file = checkpoint.file_of(*t);
    const std::string name = plan.rename ? plan.rename(t->name) : plain_name(t->name);
    if (name.empty()) continue;
    const auto [first, last] = rules.equal_range(name);
    if (first == last)
      fail(ErrorCode::format, "{}: tensor {} has no place in a model of {} layers{} of architecture '{}'",
           file, quote(t->name), plan.layers,
           plan.experts == 0 ? std::string() : fmt::format(", each with {} experts,", plan.experts),
           architecture);
    for (auto at = first; at != last; ++at) {
      const TensorRule& rule = *at->second;
      if (t->shape != rule.shape)
        fail(ErrorCode::format, "{}: tensor {} has shape {}, {} says {}", file, quote(t->name),
             shape_text(t->shape), plan.config().path(), shape_text(rule.shape));
      const auto scale = scales.find(t->name);
      PlannedTensor planned{t, scale == scales.end() ? nullptr : scale->second, &rule};
      if (rule.layout == Layout::mxfp4) {
        check_mxfp4(file, planned);
      } else {
        check_numbers(file, *t, planned.scale);
      }
      if (!used.insert(&rule).second)
        fail(ErrorCode::format, "{}: tensor {} is there twice, under two names", file, quote(name));
      out.push_back(planned);
    }
  }
  // A bias that one layer has, every layer has.
  std::map<std::string_view, uint32_t> kinds;
  const auto kind_of = [](const TensorRule& rule) {
    const std::string_view to = rule.to;
    return to.starts_with("blk.") ? to.substr(to.find('.', 4)) : to;
  };
  for (const TensorRule* rule : used) ++kinds[kind_of(*rule)];
  for (const TensorRule& rule : plan.rules()) {
    if (used.contains(&rule)) continue;
    if (rule.optional && (rule.single || kinds[kind_of(rule)] == 0)) continue;
    fail(ErrorCode::format, "{}: tensor '{}' is missing{}", checkpoint.folder(), rule.from,
         rule.optional ? ", which other layers have" : "");
  }
  return stack_experts(std::move(out));
}

}  // namespace cairn::convert
