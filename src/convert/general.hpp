#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "convert/config.hpp"
#include "convert/metadata.hpp"

namespace cairn::convert {

// A model's name taken apart: "Qwen2.5-0.5B-Instruct" is basename Qwen2.5, size 0.5B, finetune Instruct.
struct NameParts {
  std::string full;
  std::optional<std::string> organization, basename, finetune, version, size;
};
// id: with or without its owner ("Qwen/Qwen2.5-0.5B"). parameters: of the model; what looks like a size, but
// is far from it, is a context's length. The rules are those of llama.cpp's gguf.Metadata.
NameParts name_parts(const std::string& id, uint64_t parameters);
// "smollm2-135M" → "Smollm2 135M"
std::string name_title(const std::string& name);
// "494M", "1.5B"
std::string size_label(uint64_t parameters);

struct ParameterCount {
  uint64_t shared = 0, routed = 0;  // those of every token, those of all experts of all layers
  uint64_t experts = 0;             // of each layer
  uint64_t total() const noexcept { return shared + routed; }
};
// As size_label(); of a mixture "8x1.5B": experts, and what a model with one of them would have.
std::string size_label(const ParameterCount& parameters);

// general.*: type, sampling (generation_config.json of `folder`), name and its parts, size.
void general_metadata(const std::string& folder, const Config& config, const ParameterCount& parameters,
                      Metadata& out);

}  // namespace cairn::convert
