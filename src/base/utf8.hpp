#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

// What stands at the start of a byte string, by table 3-7 of the Unicode standard (no overlong forms, no
// surrogates, nothing above U+10FFFF).
struct Utf8Character {
  enum Kind {
    valid,
    invalid,     // `bytes` is the maximal subpart of an ill-formed sequence: what one U+FFFD stands for
    incomplete,  // the string ends inside a character that is well-formed so far
  };
  Kind kind;
  size_t bytes;  // at least 1
};

// text must not be empty.
Utf8Character first_character(std::string_view text) noexcept;

// Bytes up to the first that does not belong to a valid character.
size_t valid_prefix(std::string_view text) noexcept;
inline bool is_utf8(std::string_view text) noexcept {
  return valid_prefix(text) == text.size();
}

// What stands for bytes that are no character: U+FFFD.
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The given text when it is valid UTF-8; otherwise a copy in `buffer` with each maximal ill-formed subpart
// replaced by U+FFFD, as Python's bytes.decode("utf-8", errors="replace") does.
std::string_view valid_utf8(std::string_view text, std::string& buffer);

}  // namespace cairn
