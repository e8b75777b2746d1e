#include "formats/byte_reader.hpp"

#include "base/printable.hpp"

namespace cairn {
std::string quote(std::string_view text, size_t longest) {
  std::string out = "'";
  size_t at = 0;
  while (at < text.size() && at < longest) at += append_printable(out, text.substr(at));
  return out + (at < text.size() ? "…'" : "'");
}

}  // namespace cairn
