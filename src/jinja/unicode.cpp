#include "jinja/unicode.hpp"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "base/utf8.hpp"

namespace cairn::jinja::unicode {
namespace {

UChar32 code(char32_t c) {
  return static_cast<UChar32>(c);
}

icu::UnicodeString wide(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}

std::string narrow(const icu::UnicodeString& text) {
  std::string bytes;
  text.toUTF8String(bytes);
  return bytes;
}

// Titlecase of a single code point, special casing included ("ﬁ" becomes "Fi").
std::string title_one(char32_t c) {
  // ICU's titlecasing of a whole string is a matter of words; for one code point it differs from upper case
  // only where the Unicode database has a titlecase mapping of its own.
  const UChar32 simple = u_totitle(code(c));
  icu::UnicodeString one(code(c));
  const icu::UnicodeString up = icu::UnicodeString(one).toUpper(icu::Locale::getRoot());
  if (up.countChar32() == 1) return narrow(icu::UnicodeString(simple));
  return narrow(one.toTitle(nullptr, icu::Locale::getRoot(),
                            U_TITLECASE_NO_BREAK_ADJUSTMENT | U_TITLECASE_WHOLE_STRING));
}

bool is_cased(char32_t c) {
  return is_upper(c) || is_lower(c) || is_title(c);
}

}  // namespace

std::string sanitize(std::string_view bytes) {
  std::string buffer;
  return std::string(valid_utf8(bytes, buffer));
}

char32_t next(std::string_view text, size_t& position) {
  UChar32 c;
  U8_NEXT_OR_FFFD(text.data(), position, text.size(), c);
  return static_cast<char32_t>(c);
}

char32_t previous(std::string_view text, size_t& position) {
  do {
    --position;
  } while (position > 0 && (text[position] & 0xC0) == 0x80);
  size_t after = position;
  return next(text, after);
}

void append(std::string& text, char32_t code_point) {
  char buffer[U8_MAX_LENGTH];
  size_t n = 0;
  U8_APPEND_UNSAFE(buffer, n, code(code_point));
  text.append(buffer, n);
}

size_t length(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

size_t offset(std::string_view text, size_t index) {
  size_t position = 0;
  while (index > 0 && position < text.size()) {
    ++position;
    while (position < text.size() && (text[position] & 0xC0) == 0x80) ++position;
    --index;
  }
  return position;
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c == U' ') return true;
  return (U_GET_GC_MASK(code(c)) & (U_GC_C_MASK | U_GC_Z_MASK)) == 0;
}

bool is_upper(char32_t c) {
  return u_hasBinaryProperty(code(c), UCHAR_UPPERCASE);
}
bool is_lower(char32_t c) {
  return u_hasBinaryProperty(code(c), UCHAR_LOWERCASE);
}
bool is_title(char32_t c) {
  return u_charType(code(c)) == U_TITLECASE_LETTER;
}
bool is_alpha(char32_t c) {
  return (U_GET_GC_MASK(code(c)) & U_GC_L_MASK) != 0;
}
bool is_decimal(char32_t c) {
  return u_charType(code(c)) == U_DECIMAL_DIGIT_NUMBER;
}

bool is_digit(char32_t c) {
  const auto kind = u_getIntPropertyValue(code(c), UCHAR_NUMERIC_TYPE);
  return kind == U_NT_DECIMAL || kind == U_NT_DIGIT;
}

bool is_numeric(char32_t c) {
  return u_getIntPropertyValue(code(c), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool is_word(char32_t c) {
  return c == U'_' || is_alpha(c) || is_numeric(c);
}

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

std::string upper(std::string_view text) {
  return narrow(wide(text).toUpper(icu::Locale::getRoot()));
}
std::string lower(std::string_view text) {
  return narrow(wide(text).toLower(icu::Locale::getRoot()));
}
std::string casefold(std::string_view text) {
  return narrow(wide(text).foldCase());
}

std::string title(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    if (!is_cased(next(text, i))) {
      out.append(text.substr(start, i - start));
      continue;
    }
    size_t end = i;  // of the run of cased letters
    for (size_t after = end; after < text.size() && is_cased(next(text, after)); end = after) {
    }
    out += capitalize(text.substr(start, end - start));
    i = end;
  }
  return out;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  size_t i = 0;
  const char32_t first = next(text, i);
  // Lowered as a whole: what the final sigma becomes depends on the letters before it.
  return title_one(first) + lower(text).substr(lower(text.substr(0, i)).size());
}

std::string swapcase(std::string_view text) {
  const std::string lowered = lower(text);
  std::string out;
  size_t at = 0;  // where the code point stands in `lowered`
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t c = next(text, i);
    const std::string_view one = text.substr(start, i - start);
    const size_t size = lower(one).size();
    out += is_upper(c) ? lowered.substr(at, size) : is_lower(c) ? upper(one) : std::string(one);
    at += size;
  }
  return out;
}

}  // namespace cairn::jinja::unicode
