#pragma once

#include <string>
#include <utility>
#include <vector>

#include "convert/config.hpp"
#include "formats/gguf_writer.hpp"

namespace cairn::convert {

// Metadata to be written, in the order in which keys are first set; a key that is set again keeps its place.
class Metadata {
 public:
  void set(const std::string& key, gguf::WriterValue value);
  const std::vector<std::pair<std::string, gguf::WriterValue>>& all() const noexcept { return values_; }

 private:
  std::vector<std::pair<std::string, gguf::WriterValue>> values_;
};

// "<architecture>.<key>"
class ModelMetadata {
 public:
  ModelMetadata(std::string architecture, Metadata& out)
      : prefix_(std::move(architecture) + "."), out_(out) {}
  void size(const char* key, uint32_t value) { out_.set(prefix_ + key, value); }
  void number(const char* key, double value) { out_.set(prefix_ + key, static_cast<float>(value)); }
  void text(const char* key, const char* value) { out_.set(prefix_ + key, std::string(value)); }
  void flag(const char* key, bool value) { out_.set(prefix_ + key, value); }
  void sizes(const char* key, std::vector<int32_t> values) { out_.set(prefix_ + key, std::move(values)); }
  void flags(const char* key, std::vector<bool> values) { out_.set(prefix_ + key, std::move(values)); }
  Metadata& all() { return out_; }

 private:
  std::string prefix_;
  Metadata& out_;
};

// What llama.cpp's converter writes of most families: sizes, heads, norms, RoPE and its scaling.
void common_metadata(const Config& config, ModelMetadata& out);
// …with vocab_size and RoPE's size, as llama and those that follow it have them.
void llama_metadata(const Config& config, ModelMetadata& out);

}  // namespace cairn::convert
