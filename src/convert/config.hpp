#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/json_file.hpp"

namespace cairn::convert {

// A checkpoint's config.json, with what transformers takes for keys that it leaves out (each model_type's own
// defaults, version 4.57.6) and with text_config's keys, where there is one, above the others.
class Config {
 public:
  // Errors: not_found, io, format (no JSON, no architecture, a text_config that is no object).
  explicit Config(const std::string& folder);

  const std::string& path() const noexcept { return path_; }
  const Json& file() const noexcept { return file_; }                         // as it stands there
  const std::string& architecture() const noexcept { return architecture_; }  // "LlamaForCausalLM"
  const std::string& model_type() const noexcept { return model_type_; }  // text_config's, if there is one

  // nullptr when absent or null. Of several keys the first that is there.
  const Json* find(std::string_view key) const { return member(values_, key); }
  const Json* find(std::initializer_list<std::string_view> keys) const;

  // Error format names the file, the key and what it is, when it is absent or of another kind.
  uint32_t integer(std::string_view key) const;  // 0 … 2^31 − 1
  std::optional<uint32_t> find_integer(std::string_view key) const;
  double number(std::string_view key) const;  // finite
  bool flag(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key) const { return text_of(values_, key); }

  // 1 … 2^24; what tensors' shapes are made of.
  uint32_t size(std::string_view key) const;
  uint32_t heads() const { return size("num_attention_heads"); }
  uint32_t kv_heads() const;
  uint32_t head_size() const;  // head_dim, else hidden_size / heads
  uint32_t layers() const { return size("num_hidden_layers"); }
  // Of two sizes, at most 2^31 − 1.
  uint32_t product(std::string_view a, std::string_view b) const;

  // Which layers see a window alone; nullopt where the file says nothing.
  std::optional<std::vector<bool>> sliding_layers() const;

  // RoPE's parameters in transformers 5's form, whatever form the file has: rope_type, rope_theta, factor, …
  // Where local and global layers differ, those of the global ones; local_rope_theta() the others' base.
  const Json& rope() const noexcept { return rope_; }
  std::optional<double> local_rope_theta() const { return local_rope_theta_; }
  // Of rope().
  std::string rope_type() const { return text_of(rope_, "rope_type"); }
  // How many pairs turn by the place in time, height and width of a picture, filled up to four.
  std::optional<std::vector<int32_t>> rope_sections() const;
  std::optional<double> rope_number(std::string_view key) const;
  double need_rope_number(std::string_view key) const;
  // partial_rotary_factor: how much of each head RoPE turns, more than 0, at most 1.
  double rope_part(double otherwise) const;

  [[noreturn]] void error(std::string_view key, const std::string& reason) const;

 private:
  void read_rope();
  double checked_number(const Json& value, std::string_view key) const;

  std::string path_, architecture_, model_type_;
  Json file_, values_, rope_;
  std::optional<double> local_rope_theta_;
};

// "intermediate_size"; of a mixture that has none, its experts'.
const char* ffn_key(const Config& config);

}  // namespace cairn::convert
