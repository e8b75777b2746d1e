#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

// "400M", "1.5G", "700000", "64 KiB": a number of bytes, or of 1,024, 1,024², … of them (K, M, G, T, with
// or without "iB" or "B", in either case). Error invalid_argument names `what` (a flag, a command).
uint64_t parse_bytes(std::string_view text, std::string_view what);

// How sizes are written everywhere: "700 B", "64.0 KiB", "412.3 MiB", "1.50 GiB".
std::string byte_size(uint64_t bytes);

// "412.3 MiB"
std::string mebibytes(uint64_t bytes);

}  // namespace cairn
