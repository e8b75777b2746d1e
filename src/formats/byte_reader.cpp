#include "formats/byte_reader.hpp"

namespace cairn {
namespace {

// The length of the valid UTF-8 character that `text` begins with, 0 when there is none. Latin-1's control
// characters (U+0080 to U+009F) count as none: terminals obey them.
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<unsigned char>(text[i]); };
  const uint32_t lead = byte(0);
  const size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  uint32_t character = lead & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    character = character << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (length == 3 && character < 0x800) || (length == 4 && character < 0x10000);
  const bool surrogate = character >= 0xd800 && character < 0xe000;
  return overlong || surrogate || character > 0x10ffff || character < 0xa0 ? 0 : length;
}

}  // namespace

std::string quote(std::string_view text, size_t longest) {
  std::string out = "'";
  size_t at = 0;
  while (at < text.size() && at < longest) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const size_t length = byte >= 0x20 && byte < 0x7f ? 1 : character_length(text.substr(at));
    if (length) {
      out += text.substr(at, length);
    } else if (byte == '\n') {
      out += "\\n";
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
    at += length ? length : 1;
  }
  return out + (at < text.size() ? "…'" : "'");
}

}  // namespace cairn
