#include "base/printable.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

namespace cairn {

size_t append_printable(std::string& out, std::string_view text) {
  utf8proc_int32_t character = -1;
  const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &character);
  if (size <= 0) {
    out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    return 1;
  }
  switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      out += character == '\n'     ? "\\n"
             : character < 0x80    ? fmt::format("\\x{:02x}", character)
             : character < 0x10000 ? fmt::format("\\u{:04x}", character)
                                   : fmt::format("\\U{:08x}", character);
      break;
    default:
      out += text.substr(0, static_cast<size_t>(size));
  }
  return static_cast<size_t>(size);
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) text.remove_prefix(append_printable(out, text));
  return out;
}

}  // namespace cairn
