#pragma once

#include <string>

#include "convert/convert.hpp"
#include "formats/gguf.hpp"

namespace cairn::convert {

// The checkpoint in `folder` as the model that convert() would write, without writing it: tensors that the
// file would hold as they are stay in the mapped checkpoint; what is converted (and the metadata) is kept in
// a nameless file in the folder `beside` (base/nameless_file.hpp), a few MiB at a time in memory.
// Its file_bytes() are those of convert()'s file. Errors: those of convert().
gguf::File open(const std::string& folder, Type type, const std::string& beside, const Progress& progress);

}  // namespace cairn::convert
