#pragma once

#include <string>
#include <string_view>

namespace cairn::cli {

// Writes to standard output and flushes. Error io names the system's reason.
void write_out(std::string_view text);

// All of a file; "-" is standard input. Errors: not_found, io, cancelled (interrupted while waiting for
// input).
std::string read_text(const std::string& path);

}  // namespace cairn::cli
