#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

#include "base/error.hpp"
#include "base/plugin.hpp"

namespace cairn::cli {

// For functions of base/plugin.hpp's VideoPlugin: what they tell, as much as there is room for.
inline int tell_caller(std::string_view text, int status, char* message, size_t size) {
  const size_t length = std::min(text.size(), size - 1);
  std::memcpy(message, text.data(), length);
  message[length] = '\0';
  return status;
}

// Runs the body of such a function.
template <class Body>
int told(char* message, size_t size, const Body& body) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    return tell_caller(error.what(), static_cast<int>(error.code()), message, size);
  } catch (const std::bad_alloc&) {
    return tell_caller("out of memory", static_cast<int>(ErrorCode::out_of_memory), message, size);
  } catch (const std::exception& error) {
    return tell_caller(error.what(), VideoPlugin::kOther, message, size);
  }
}

}  // namespace cairn::cli
