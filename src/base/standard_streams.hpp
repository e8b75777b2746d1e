#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace cairn {

// Opens those of the descriptors 0 to 2 that are closed, so that no file of ours becomes one of them: a model
// read as the user's input, an output overwritten by an error. First thing in every program and library
// entry. Reading standard input then ends at once, writing standard output fails, standard error takes
// everything.
void open_standard_descriptors() noexcept;

// Writes to standard error at once; whoever closed it, or reads it no more, misses it and nothing else
// happens.
void write_error(std::string_view text) noexcept;

// write_error() of a formatted text.
template <class... Args>
void tell(fmt::format_string<Args...> format, Args&&... args) {
  write_error(fmt::format(format, std::forward<Args>(args)...));
}

// Whether standard output is a pipe or a socket whose reader has left.
bool output_reader_left() noexcept;

}  // namespace cairn
