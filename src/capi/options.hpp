// Structs that begin with their size: of a program that was compiled with another version of the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/error.hpp"

namespace cairn::capi {

constexpr size_t kLargestStruct = 1 << 16;  // beyond it a size is no size

// Error invalid_argument: a size that none of its versions has had. least: bytes that all have had.
inline void check_size(size_t size, size_t least, const char* what) {
  if (size < least || size > kLargestStruct)
    fail(ErrorCode::invalid_argument, "{}: its size is {}: it was not initialised", what, size);
}

// For …_init: what is usual, as far as the caller's struct knows it.
template <class T>
void write_usual(T* options, size_t size, const T& usual) noexcept {
  if (options == nullptr || size < sizeof(size_t) || size > kLargestStruct) return;
  std::memset(static_cast<void*>(options), 0, size);
  std::memcpy(static_cast<void*>(options), &usual, std::min(size, sizeof(T)));
  options->size = size;
}

// The caller's options, the usual ones where it knows fewer; null is the usual ones. Errors: invalid_argument
// (the size), unsupported (it knows more, and wants some of it).
template <class T>
T read_options(const T* given, const T& usual, const char* what) {
  T options = usual;
  if (given == nullptr) return options;
  check_size(given->size, sizeof(size_t), what);
  std::memcpy(static_cast<void*>(&options), given, std::min(given->size, sizeof(T)));
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  if (given->size > sizeof(T) &&
      std::any_of(bytes + sizeof(T), bytes + given->size, [](unsigned char byte) { return byte != 0; })) {
    fail(ErrorCode::unsupported, "{}: it asks for what this version of the library does not know", what);
  }
  options.size = sizeof(T);
  return options;
}

// Writes a struct that the caller has set the size of, as far as it knows it. Error invalid_argument.
template <class T>
void write_struct(T* to, const T& value, const char* what) {
  if (to == nullptr) fail(ErrorCode::invalid_argument, "{} is NULL", what);
  check_size(to->size, sizeof(size_t), what);
  const size_t size = to->size;
  std::memset(static_cast<void*>(to), 0, size);
  std::memcpy(static_cast<void*>(to), &value, std::min(size, sizeof(T)));
  to->size = size;
}

}  // namespace cairn::capi
