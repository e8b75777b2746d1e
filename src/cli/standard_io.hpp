#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace cairn::cli {

constexpr std::string_view kCannotWriteOut = "cannot write to standard output";

// Writes to standard output at once, all of it. Errors: io (kCannotWriteOut and the system's reason);
// cancelled (interrupted while nobody reads).
void write_out(std::string_view text);

// Reads what is there, waiting for it if need be; 0 at the end. A signal that comes before or while it waits
// ends the wait. `name` is for the errors: io, cancelled.
size_t read_some(int descriptor, std::span<char> buffer, std::string_view name);

// All of a file; "-" is standard input. Errors: not_found, io, cancelled (interrupted while waiting for
// input).
std::string read_text(const std::string& path);

}  // namespace cairn::cli
