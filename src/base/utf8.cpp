#include "base/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace cairn {
namespace {

size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

}  // namespace

Utf8Character first_character(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Utf8Character::valid, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8Character::invalid, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range is narrower after four of the leads; all others are 80..BF.
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8Character::incomplete, i};
    if (byte(i) < low || byte(i) > high) return {Utf8Character::invalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Character::valid, length};
}

size_t valid_prefix(std::string_view text) noexcept {
  size_t i = 0;
  while (true) {
    i += ascii_prefix(text.substr(i));
    if (i == text.size()) return i;
    const Utf8Character character = first_character(text.substr(i));
    if (character.kind != Utf8Character::valid) return i;
    i += character.bytes;
  }
}

std::string_view valid_utf8(std::string_view text, std::string& buffer) {
  size_t good = valid_prefix(text);
  if (good == text.size()) return text;
  buffer.clear();
  buffer.reserve(text.size() + 64);
  while (true) {
    buffer.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) return buffer;
    buffer.append(kReplacement);
    text.remove_prefix(first_character(text).bytes);
    good = valid_prefix(text);
  }
}

}  // namespace cairn
