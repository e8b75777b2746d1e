#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

namespace cairn::cli {

// For functions of base/plugin.hpp's VideoPlugin: what they tell, as much as there is room for.
inline int tell_caller(std::string_view text, int status, char* message, size_t size) {
  const size_t length = std::min(text.size(), size - 1);
  std::memcpy(message, text.data(), length);
  message[length] = '\0';
  return status;
}

}  // namespace cairn::cli
