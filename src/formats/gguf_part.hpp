#pragma once

#include <map>
#include <string>
#include <vector>

#include "formats/gguf.hpp"

namespace cairn::gguf {

using Metadata = std::map<std::string, Value, std::less<>>;

// One file of a model: the whole of it, or one split. Views point into `file`.
struct Part {
  MappedFile file;
  uint32_t version = 0;
  Metadata metadata;
  std::vector<Tensor> tensors;
};

// Reads and checks one file. Errors: those of MappedFile; format; unsupported (version, kind, encoding).
Part read_part(const std::string& path);

}  // namespace cairn::gguf
