#pragma once

#include <string>
#include <string_view>

#include "convert/json_file.hpp"

namespace cairn::convert {

// What tokenizer.ggml.pre is to be for a tokenizer.json: the name whose expressions (text/pre_tokenizer.hpp)
// are those of its pre_tokenizer. Several names stand for the same expressions; the family and whether texts
// begin with BOS decide among them as llama.cpp's table of hashes does. Error unsupported, with the file's
// path and what its pre_tokenizer is made of, when no name fits.
std::string pre_tokenizer_name(const Json& tokenizer, std::string_view architecture, bool adds_bos,
                               const std::string& path);

}  // namespace cairn::convert
