#include "jinja/unescape.hpp"

#include <algorithm>
#include <charconv>

#include "base/error.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

char32_t hexadecimal(std::string_view literal, size_t& i, size_t digits, char letter) {
  uint32_t code = 0;
  const char* begin = literal.data() + i;
  const char* end = begin + std::min(digits, literal.size() - i);
  const auto [stop, error] = std::from_chars(begin, end, code, 16);
  if (error != std::errc() || stop != begin + digits || *begin == '-') {
    fail(ErrorCode::format, "truncated \\{} escape in a string", letter);
  }
  if (code > 0x10FFFF) fail(ErrorCode::format, "illegal Unicode character in a string");
  if (code >= 0xD800 && code <= 0xDFFF)
    fail(ErrorCode::unsupported, "a surrogate (\\u{:04x}) in a string", code);
  i += digits;
  return code;
}

}  // namespace

std::string unescape(std::string_view literal) {
  std::string out;
  for (size_t i = 0; i < literal.size();) {
    const char c = literal[i++];
    if (c != '\\' || i >= literal.size()) {
      out += c;
      continue;
    }
    const char escape = literal[i++];
    switch (escape) {
      case '\n':
        break;
      case '\\':
      case '\'':
      case '"':
        out += escape;
        break;
      case 'a':
        out += '\a';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'v':
        out += '\v';
        break;
      case 'x':
        unicode::append(out, hexadecimal(literal, i, 2, 'x'));
        break;
      case 'u':
        unicode::append(out, hexadecimal(literal, i, 4, 'u'));
        break;
      case 'U':
        unicode::append(out, hexadecimal(literal, i, 8, 'U'));
        break;
      case 'N':
        fail(ErrorCode::unsupported, "the escape \\N{{...}} in a string");
      default:
        if (escape >= '0' && escape <= '7') {
          char32_t code = static_cast<char32_t>(escape - '0');
          for (int n = 0; n < 2 && i < literal.size() && literal[i] >= '0' && literal[i] <= '7'; ++n) {
            code = code * 8 + static_cast<char32_t>(literal[i++] - '0');
          }
          unicode::append(out, code);
        } else {  // an unknown escape stays as it is
          out += '\\';
          out += escape;
        }
    }
  }
  return out;
}

}  // namespace cairn::jinja
