#pragma once

#include <optional>
#include <vector>

#include "encode/file_type.hpp"
#include "formats/gguf.hpp"

namespace cairn::encode {

struct Choice {
  Encoding encoding;
  // Where the mix's own encoding does not divide the tensor's rows into blocks: that one.
  std::optional<Encoding> wanted{};
  bool kept = false;              // small or sensitive: stays as it is in any type
  bool needs_importance = false;  // is not written without
};

// An encoding for each tensor, in file order: what llama.cpp takes (src/llama-quant.cpp,
// llama_tensor_get_type; the revision in llama-cpp-python 0.3.36). importance: whether there is some, on
// which a few types look. pure: the type's encoding for all that is not kept.
std::vector<Choice> choose_encodings(const gguf::File& file, const FileType& type, bool importance,
                                     bool pure = false);

}  // namespace cairn::encode
