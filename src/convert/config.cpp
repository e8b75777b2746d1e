#include "convert/config.hpp"

#include <array>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

struct Defaults {
  std::string_view model_type, values;
};
// What transformers 4.57.6 (each model's configuration_….py) takes for what config.json leaves out. Sizes
// that every file states are not here.
constexpr std::array<Defaults, 27> kDefaults{{
    {"bert", R"({"hidden_act": "gelu", "hidden_size": 768, "intermediate_size": 3072, "layer_norm_eps": 1e-12,
                 "max_position_embeddings": 512, "num_attention_heads": 12, "num_hidden_layers": 12,
                 "position_embedding_type": "absolute", "type_vocab_size": 2, "vocab_size": 30522})"},
    {"llama", R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                  "tie_word_embeddings": false})"},
    {"mistral", R"({"max_position_embeddings": 131072, "num_key_value_heads": 8, "rms_norm_eps": 1e-6,
                    "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false})"},
    {"qwen2", R"({"max_position_embeddings": 32768, "num_key_value_heads": 32, "rms_norm_eps": 1e-6,
                  "rope_theta": 10000.0, "tie_word_embeddings": false})"},
    {"qwen3", R"({"head_dim": 128, "max_position_embeddings": 32768, "num_key_value_heads": 32,
                  "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false})"},
    {"gemma", R"({"head_dim": 256, "max_position_embeddings": 8192, "num_key_value_heads": 16,
                  "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true})"},
    {"gemma3_text", R"({"head_dim": 256, "hidden_size": 2304, "intermediate_size": 9216,
                        "max_position_embeddings": 131072, "num_attention_heads": 8, "num_hidden_layers": 26,
                        "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000.0,
                        "rope_theta": 1000000.0, "sliding_window": 4096, "tie_word_embeddings": true,
                        "vocab_size": 262208})"},
    {"phi", R"({"layer_norm_eps": 1e-5, "max_position_embeddings": 2048, "partial_rotary_factor": 0.5,
                "rope_theta": 10000.0, "tie_word_embeddings": false})"},
    {"phi3", R"({"max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
                 "partial_rotary_factor": 1.0, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                 "tie_word_embeddings": false, "vocab_size": 32064})"},
    {"smollm3", R"({"max_position_embeddings": 32768, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
                    "rope_theta": 2000000.0, "tie_word_embeddings": true, "vocab_size": 128256})"},
    {"olmo2", R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                  "tie_word_embeddings": false})"},
    {"olmo3", R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                  "sliding_window": 4096, "tie_word_embeddings": false})"},
    {"glm4", R"({"head_dim": 128, "max_position_embeddings": 131072, "num_key_value_heads": 2,
                 "partial_rotary_factor": 0.5, "rms_norm_eps": 1.5625e-7, "rope_theta": 10000.0,
                 "tie_word_embeddings": false, "vocab_size": 151552})"},
    {"exaone4", R"({"max_position_embeddings": 2048, "num_key_value_heads": 32, "rms_norm_eps": 1e-5,
                    "rope_theta": 10000.0, "sliding_window": 4096, "sliding_window_pattern": 4,
                    "tie_word_embeddings": false, "vocab_size": 102400})"},
    {"granite", R"({"attention_multiplier": 1.0, "embedding_multiplier": 1.0, "logits_scaling": 1.0,
                    "max_position_embeddings": 2048, "residual_multiplier": 1.0, "rms_norm_eps": 1e-6,
                    "rope_theta": 10000.0, "tie_word_embeddings": false})"},
    {"gemma4_text", R"({"attention_k_eq_v": false, "enable_moe_block": false, "head_dim": 256,
                        "hidden_size": 2304, "hidden_size_per_layer_input": 256, "intermediate_size": 9216,
                        "max_position_embeddings": 131072, "num_attention_heads": 8, "num_hidden_layers": 30,
                        "num_key_value_heads": 4, "num_kv_shared_layers": 0, "rms_norm_eps": 1e-6,
                        "sliding_window": 512, "tie_word_embeddings": true, "use_double_wide_mlp": false,
                        "vocab_size": 262144, "vocab_size_per_layer_input": 262144})"},
    {"gemma4", R"({"text_config": {"model_type": "gemma4_text"}})"},
    {"qwen3_moe",
     R"({"decoder_sparse_step": 1, "max_position_embeddings": 32768, "moe_intermediate_size": 768,
                      "num_experts": 128, "num_experts_per_tok": 8, "num_key_value_heads": 4,
                      "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false})"},
    {"gpt_oss", R"({"head_dim": 64, "max_position_embeddings": 131072, "num_experts_per_tok": 4,
                    "num_key_value_heads": 8, "num_local_experts": 128, "rms_norm_eps": 1e-5,
                    "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
                                     "original_max_position_embeddings": 4096, "rope_type": "yarn"},
                    "rope_theta": 150000.0, "sliding_window": 128, "tie_word_embeddings": false})"},
    {"granitemoe", R"({"attention_multiplier": 1.0, "embedding_multiplier": 1.0, "logits_scaling": 1.0,
                       "max_position_embeddings": 2048, "num_experts_per_tok": 2, "num_local_experts": 8,
                       "residual_multiplier": 1.0, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                       "tie_word_embeddings": false})"},
    {"granitemoeshared", R"({"attention_multiplier": 1.0, "embedding_multiplier": 1.0, "logits_scaling": 1.0,
                             "max_position_embeddings": 2048, "num_experts_per_tok": 2,
                             "num_local_experts": 8, "residual_multiplier": 1.0, "rms_norm_eps": 1e-6,
                             "rope_theta": 10000.0, "shared_intermediate_size": 0,
                             "tie_word_embeddings": false})"},
    {"deepseek_v2",
     R"({"attention_bias": false, "first_k_dense_replace": 0, "kv_lora_rank": 512,
         "max_position_embeddings": 2048, "mlp_bias": false, "moe_intermediate_size": 1407,
         "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false, "q_lora_rank": 1536,
         "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
         "routed_scaling_factor": 1.0, "tie_word_embeddings": false, "topk_method": "greedy",
         "v_head_dim": 128})"},
    {"deepseek_v3",
     R"({"attention_bias": false, "first_k_dense_replace": 3, "kv_lora_rank": 512,
         "max_position_embeddings": 4096, "moe_intermediate_size": 2048, "n_group": 8,
         "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true, "num_experts_per_tok": 8,
         "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-6,
         "rope_interleave": true, "rope_theta": 10000.0, "routed_scaling_factor": 2.5,
         "tie_word_embeddings": false, "topk_group": 4, "v_head_dim": 128})"},
    {"glm4_moe_lite",
     R"({"attention_bias": false, "kv_lora_rank": 512, "max_position_embeddings": 202752,
         "moe_intermediate_size": 1536, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 1,
         "norm_topk_prob": true, "num_experts_per_tok": 4, "q_lora_rank": 768, "qk_nope_head_dim": 192,
         "qk_rope_head_dim": 64, "rms_norm_eps": 1e-5, "rope_interleave": true, "rope_theta": 10000.0,
         "routed_scaling_factor": 1.8, "tie_word_embeddings": false, "topk_group": 1, "v_head_dim": 256})"},
    {"lfm2", R"({"block_auto_adjust_ff_dim": true, "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 256,
                 "conv_L_cache": 3, "max_position_embeddings": 128000, "norm_eps": 1e-5,
                 "num_key_value_heads": 8, "rope_theta": 1000000.0, "tie_word_embeddings": true})"},
    {"gemma3", R"({"text_config": {"model_type": "gemma3_text"}})"},
    {"mistral3", R"({"text_config": {"model_type": "mistral"}})"},
}};

// Adds what `object` lacks. A null counts as said.
void fill(Json& object, std::string_view model_type) {
  for (const Defaults& defaults : kDefaults) {
    if (defaults.model_type != model_type) continue;
    const Json values = Json::parse(defaults.values);
    for (const auto& [key, value] : values.items()) {
      if (!object.contains(key)) object[key] = value;
    }
  }
}

std::string shown(const Json& value) {
  return quote(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

std::string first_architecture(const Json& object) {
  const Json* names = member(object, "architectures");
  if (!names || !names->is_array() || names->empty() || !names->front().is_string()) return {};
  return names->front().get<std::string>();
}

}  // namespace

Config::Config(const std::string& folder) : path_(folder + "/config.json"), file_(read_json(path_)) {
  values_ = file_;
  model_type_ = text_of(values_, "model_type");
  architecture_ = first_architecture(values_);
  fill(values_, model_type_);
  if (const Json* nested = member(values_, "text_config")) {
    if (!nested->is_object()) error("text_config", "is no object");
    Json inner = *nested;
    if (const std::string own = first_architecture(inner); !own.empty()) architecture_ = own;
    const std::string outer_type = model_type_;
    model_type_ = text_of(inner, "model_type");
    if (model_type_.empty()) model_type_ = outer_type == "gemma3" ? "gemma3_text" : "mistral";
    fill(inner, model_type_);
    for (const auto& [key, value] : inner.items()) values_[key] = value;
  }
  // Of llama alone transformers computes it, so that files state it.
  if (model_type_ == "llama" && !find("head_dim") && find("hidden_size")) values_["head_dim"] = head_size();
  // Nemotron-H's older name, and the number of layers, which newer files leave to their list.
  if (!find("head_dim") && find("attention_head_dim")) values_["head_dim"] = *find("attention_head_dim");
  if (const Json* kinds = find("layers_block_type"); kinds && !find("num_hidden_layers") && kinds->is_array())
    values_["num_hidden_layers"] = kinds->size();
  if (architecture_.empty()) fail(ErrorCode::format, "{}: names no architecture (architectures)", path_);
  read_rope();
}

void Config::error(std::string_view key, const std::string& reason) const {
  fail(ErrorCode::format, "{}: {} {}", path_, key, reason);
}

const Json* Config::find(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    if (const Json* value = find(key)) return value;
  }
  return nullptr;
}

std::optional<uint32_t> Config::find_integer(std::string_view key) const {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  return static_cast<uint32_t>(whole_number(*value, std::numeric_limits<int32_t>::max(), path_, key));
}

uint32_t Config::integer(std::string_view key) const {
  const auto value = find_integer(key);
  if (!value) error(key, "is missing");
  return *value;
}

uint32_t Config::size(std::string_view key) const {
  constexpr uint32_t kMost = 1U << 24;
  const uint32_t value = integer(key);
  if (value < 1 || value > kMost) error(key, fmt::format("is {}, expected 1 to {}", value, kMost));
  return value;
}

uint32_t Config::product(std::string_view a, std::string_view b) const {
  const uint64_t value = uint64_t{size(a)} * size(b);
  if (value > std::numeric_limits<int32_t>::max())
    error(a, fmt::format("times {} is {}, more than any model has", b, value));
  return static_cast<uint32_t>(value);
}

double Config::checked_number(const Json& value, std::string_view key) const {
  const double number = value.is_number() ? value.get<double>() : NAN;
  if (!std::isfinite(static_cast<float>(number)))
    error(key, fmt::format("is {}, expected a number", shown(value)));
  return number;
}

double Config::number(std::string_view key) const {
  const Json* value = find(key);
  if (!value) error(key, "is missing");
  return checked_number(*value, key);
}

bool Config::flag(std::string_view key, bool otherwise) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is_boolean()) error(key, fmt::format("is {}, expected true or false", shown(*value)));
  return value->get<bool>();
}

uint32_t Config::kv_heads() const {
  return find("num_key_value_heads") ? size("num_key_value_heads") : heads();
}

uint32_t Config::head_size() const {
  if (find("head_dim")) return size("head_dim");
  const uint32_t width = size("hidden_size"), count = heads();
  if (width % count != 0)
    error("hidden_size", fmt::format("is {}, no multiple of the {} attention heads", width, count));
  return width / count;
}

std::optional<std::vector<bool>> Config::sliding_layers() const {
  const uint32_t count = layers();
  std::vector<bool> out;
  if (const Json* types = find("layer_types")) {
    if (!types->is_array() || types->size() != count)
      error("layer_types", fmt::format("does not list {} layers", count));
    for (const Json& type : *types) out.push_back(type == "sliding_attention");
    return out;
  }
  const Json* pattern = find("sliding_window_pattern");
  if (!pattern) return std::nullopt;
  if (pattern->is_string() && !pattern->get<std::string>().empty()) {  // "LLLG"
    const auto letters = pattern->get<std::string>();
    for (uint32_t i = 0; i < count; ++i) out.push_back(letters[i % letters.size()] == 'L');
    return out;
  }
  const uint32_t period = size("sliding_window_pattern");
  for (uint32_t i = 0; i < count; ++i) out.push_back((i + 1) % period != 0);
  return out;
}

void Config::read_rope() {
  const Json* parameters = find({"rope_parameters", "rope_scaling"});
  if (parameters && !parameters->is_object()) error("rope_parameters", "is no object");
  const Json all = parameters ? *parameters : Json::object();
  const Json *global = member(all, "full_attention"), *local = member(all, "sliding_attention");
  rope_ = global ? *global : all;
  if (local && member(*local, "rope_theta"))
    local_rope_theta_ = checked_number(*member(*local, "rope_theta"), "rope_theta");
  if (global || local) return;
  if (const Json* base = find({"local_rope_theta", "rope_local_base_freq"}))
    local_rope_theta_ = checked_number(*base, "rope_local_base_freq");
  const auto add = [&](const char* key, const Json* value) {
    if (value && !rope_.contains(key)) rope_[key] = *value;
  };
  add("rope_theta", find({"rope_theta", "rotary_emb_base"}));
  add("rope_type", member(rope_, "type"));
  add("partial_rotary_factor", find("partial_rotary_factor"));
  add("original_max_position_embeddings", find("original_max_position_embeddings"));
}

std::optional<std::vector<int32_t>> Config::rope_sections() const {
  const Json* value = member(rope_, "mrope_section");
  if (!value) return std::nullopt;
  if (!value->is_array() || value->empty() || value->size() > 4)
    error("mrope_section", fmt::format("is {}, expected up to four numbers", shown(*value)));
  std::vector<int32_t> out;
  for (const Json& n : *value)
    out.push_back(
        static_cast<int32_t>(whole_number(n, std::numeric_limits<int32_t>::max(), path_, "mrope_section")));
  out.resize(4);
  return out;
}

const char* ffn_key(const Config& config) {
  return !config.find("intermediate_size") && config.find("moe_intermediate_size") ? "moe_intermediate_size"
                                                                                   : "intermediate_size";
}

std::optional<double> Config::rope_number(std::string_view key) const {
  const Json* value = member(rope_, key);
  if (!value) return std::nullopt;
  return checked_number(*value, key);
}

double Config::need_rope_number(std::string_view key) const {
  const auto value = rope_number(key);
  if (!value) error("rope_parameters", fmt::format("lacks {}", key));
  return *value;
}

double Config::rope_part(double otherwise) const {
  const double part = rope_number("partial_rotary_factor").value_or(otherwise);
  if (!(part > 0 && part <= 1))
    error("partial_rotary_factor", fmt::format("is {}, expected more than 0, at most 1", part));
  return part;
}

}  // namespace cairn::convert
