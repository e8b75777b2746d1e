// capi: the C interface (include/cairn/) over the rooms below. Nothing is thrown out of it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "cairn/base.h"

namespace cairn::capi {

// Writes what is being thrown to `error` (null: nowhere) and returns its code. Within a catch.
cairn_status report(cairn_error* error) noexcept;
void clear(cairn_error* error) noexcept;

// Runs the body of a function that may fail.
template <class Body>
cairn_status call(cairn_error* error, const Body& body) noexcept {
  clear(error);
  try {
    body();
    return CAIRN_OK;
  } catch (...) {
    return report(error);
  }
}

// … of one that says nothing.
template <class Body>
void quietly(const Body& body) noexcept {
  try {
    body();
  } catch (...) {
    cairn_error ignored;
    report(&ignored);
  }
}

// Error invalid_argument where a pointer that is needed is NULL.
void require(const void* pointer, const char* what);
constexpr size_t kTerminated = SIZE_MAX;  // CAIRN_TERMINATED
// A text of the caller's: CAIRN_TERMINATED as its length, or no length, means that it ends with 0.
std::string_view text_of(const char* text, size_t size, const char* what);
inline std::string_view text_of(const char* text, const char* what) {
  return text_of(text, kTerminated, what);
}
// Numbers of the caller's; none may be at NULL.
template <class T>
std::span<const T> numbers_of(const T* numbers, size_t count, const char* what) {
  if (count > 0) require(numbers, what);
  return {numbers, count};
}

// Memory for the caller, to be freed by cairn_free: a text with a 0 behind it, an array (null of nothing).
char* handed_out(std::string_view text);
template <class T>
T* handed_out(const std::vector<T>& numbers) {
  if (numbers.empty()) return nullptr;
  void* const memory = std::malloc(numbers.size() * sizeof(T));
  if (memory == nullptr) throw std::bad_alloc();
  return static_cast<T*>(std::memcpy(memory, numbers.data(), numbers.size() * sizeof(T)));
}

}  // namespace cairn::capi
