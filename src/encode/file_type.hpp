// encode: model files in other encodings: which tensor gets which, and the writing of it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "formats/encoding.hpp"

namespace cairn::encode {

// What a whole file is quantised to: most tensors in one encoding, some in better ones (mix.hpp).
struct FileType {
  std::string_view name;  // llama.cpp's, in lower case: "q4_k_m"
  uint32_t number;        // its llama_ftype, the file's general.file_type
  Encoding encoding;      // of most tensors
};

// All that can be written, in ascending order of their bits a weight, floats last.
std::span<const FileType> file_types();

// In either case; "q4_k" is "q4_k_m" and the like. Error invalid_argument lists the names.
const FileType& parse_file_type(std::string_view name);

}  // namespace cairn::encode
