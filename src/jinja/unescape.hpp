#pragma once

#include <string>
#include <string_view>

namespace cairn::jinja {

// The inside of a string literal with Python's escapes resolved (codec unicode-escape). Errors: format for a
// malformed escape, unsupported for \N{...} and for surrogates, which UTF-8 cannot hold.
std::string unescape(std::string_view literal);

}  // namespace cairn::jinja
