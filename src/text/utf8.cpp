#include "text/utf8.hpp"

#include <cstdint>
#include <cstring>

#include "text/tokenizer.hpp"

namespace cairn::text {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

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

// Bytes up to the first that does not belong to a valid character.
size_t valid_prefix(std::string_view text) {
  size_t i = 0;
  while (true) {
    i += ascii_prefix(text.substr(i));
    if (i == text.size()) return i;
    const Utf8Character character = first_character(text.substr(i));
    if (character.kind != Utf8Character::valid) return i;
    i += character.bytes;
  }
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

std::string_view valid_utf8(std::string_view text, std::string& buffer) {
  size_t good = valid_prefix(text);
  if (good == text.size()) return text;
  buffer.clear();
  buffer.reserve(text.size() + 64);
  while (true) {
    buffer.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) return buffer;
    buffer.append(replacement);
    text.remove_prefix(first_character(text).bytes);
    good = valid_prefix(text);
  }
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const size_t good = valid_prefix(rest);
    out.append(rest.substr(0, good));
    rest.remove_prefix(good);
    if (rest.empty()) break;
    const Utf8Character character = first_character(rest);
    if (character.kind == Utf8Character::incomplete) break;
    out.append(replacement);
    rest.remove_prefix(character.bytes);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string Utf8Stream::finish() {
  std::string out;
  if (!pending_.empty()) out = replacement;  // an incomplete character is one maximal subpart
  pending_.clear();
  return out;
}

}  // namespace cairn::text
