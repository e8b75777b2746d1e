#include "capi/call.hpp"

#include <algorithm>
#include <string>

#include "base/utf8.hpp"

namespace cairn::capi {
namespace {

// The numbers that programs are compiled with; base/error.hpp says them once more.
static_assert(static_cast<int>(ErrorCode::invalid_argument) == CAIRN_INVALID_ARGUMENT);
static_assert(static_cast<int>(ErrorCode::not_found) == CAIRN_NOT_FOUND);
static_assert(static_cast<int>(ErrorCode::io) == CAIRN_IO);
static_assert(static_cast<int>(ErrorCode::format) == CAIRN_FORMAT);
static_assert(static_cast<int>(ErrorCode::unsupported) == CAIRN_UNSUPPORTED);
static_assert(static_cast<int>(ErrorCode::out_of_memory) == CAIRN_OUT_OF_MEMORY);
static_assert(static_cast<int>(ErrorCode::network) == CAIRN_NETWORK);
static_assert(static_cast<int>(ErrorCode::numeric) == CAIRN_NUMERIC);
static_assert(static_cast<int>(ErrorCode::cancelled) == CAIRN_CANCELLED);
static_assert(static_cast<int>(ErrorCode::busy) == CAIRN_BUSY);

// One line of whole characters, as much of it as there is room for.
cairn_status tell(cairn_error* error, cairn_status code, std::string_view text) noexcept {
  if (error == nullptr) return code;
  error->code = code;
  constexpr size_t kRoom = sizeof(error->message) - 1;
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Character next = first_character(text.substr(length));
    const size_t bytes = next.kind == Utf8Character::valid ? next.bytes : 1;
    if (length + bytes > kRoom) break;
    for (size_t i = 0; i < bytes; ++i) {
      const char c = text[length + i];
      const bool shown =
          next.kind == Utf8Character::valid && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
      error->message[length + i] = shown ? c : next.kind == Utf8Character::valid ? ' ' : '?';
    }
    length += bytes;
  }
  error->message[length] = '\0';
  return code;
}

}  // namespace

cairn_status report(cairn_error* error) noexcept {
  try {
    throw;
  } catch (const Error& thrown) {
    return tell(error, static_cast<cairn_status>(thrown.code()), thrown.what());
  } catch (const std::bad_alloc&) {
    return tell(error, CAIRN_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& thrown) {
    return tell(error, CAIRN_INTERNAL, thrown.what());
  } catch (...) {
    return tell(error, CAIRN_INTERNAL, "something that is no std::exception was thrown");
  }
}

void clear(cairn_error* error) noexcept {
  tell(error, CAIRN_OK, "");
}

void require(const void* pointer, const char* what) {
  if (pointer == nullptr) fail(ErrorCode::invalid_argument, "{} is NULL", what);
}

std::string_view text_of(const char* text, size_t size, const char* what) {
  if (text == nullptr && size == 0) return {};
  require(text, what);
  return size == kTerminated ? std::string_view(text) : std::string_view(text, size);
}

char* handed_out(std::string_view text) {
  char* const memory = static_cast<char*>(std::malloc(text.size() + 1));
  if (memory == nullptr) throw std::bad_alloc();
  std::copy(text.begin(), text.end(), memory);
  memory[text.size()] = '\0';
  return memory;
}

}  // namespace cairn::capi
