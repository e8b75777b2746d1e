#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

// "400M", "1.5G", "700000", "64 KiB": a number of bytes, or of 1,024, 1,024² or 1,024³ of them (K, M, G, with
// or without "iB" or "B", in either case). Error invalid_argument names `what` (a flag, a command).
uint64_t parse_bytes(std::string_view text, std::string_view what);

// "412.3 MiB"
std::string mebibytes(uint64_t bytes);

}  // namespace cairn
