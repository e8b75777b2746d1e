#pragma once

#include <string>
#include <string_view>

namespace cairn {

// Appends what a text begins with: a character as it is, or, where a terminal would obey it or be turned by
// it (control, format and separator characters, bidirectional ones among them) or it is no UTF-8, its name:
// \n, \x9b, \u202e. Returns the bytes taken. text must not be empty.
size_t append_printable(std::string& out, std::string_view text);

std::string printable(std::string_view text);

}  // namespace cairn
