#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "stack/restore.hpp"

namespace cairn::stack {

// How many blocks of those present fit. Errors invalid_argument, with both numbers: less than the base, more
// than the file holds (bits; a size beyond the file's is all of it).
size_t blocks_for_size(const Reader& reader, uint64_t bytes);
size_t blocks_for_bits(const Reader& reader, double bits);

}  // namespace cairn::stack
