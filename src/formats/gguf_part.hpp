#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "formats/gguf.hpp"

namespace cairn::gguf {

using Metadata = std::map<std::string, Value, std::less<>>;

// One file of a model: the whole of it, or one split. Views point into `file`.
struct Part {
  MappedFile file;
  uint32_t version = 0;
  Metadata metadata;
  std::vector<std::pair<std::string_view, std::span<const std::byte>>> raw_metadata;  // kind and value
  std::vector<Tensor> tensors;
  std::optional<StackRegion> stack;  // `file` is then a copy in memory of what comes before it
  uint64_t file_bytes = 0;           // on the disk
};

// Reads and checks one file. Errors: those of MappedFile; format; unsupported (version, kind, encoding).
Part read_part(const std::string& path);

}  // namespace cairn::gguf
