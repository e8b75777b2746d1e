#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "base/error.hpp"

namespace cairn {

// The enumerator whose name it is. Errors: invalid_argument, `"text" is not <what>: ` and all names.
template <class Enum, size_t N>
Enum parse_name(const std::array<const char*, N>& names, std::string_view text, std::string_view what) {
  for (size_t i = 0; i < N; ++i) {
    if (text == names[i]) return static_cast<Enum>(i);
  }
  fail(ErrorCode::invalid_argument, "\"{}\" is not {}: {}", text, what, fmt::join(names, ", "));
}

}  // namespace cairn
