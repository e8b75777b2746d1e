#include "jinja/text_tools.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

bool has(Side side, Side part) {
  return (static_cast<int>(side) & static_cast<int>(part)) != 0;
}

bool one_of(std::string_view characters, char32_t c) {
  for (size_t i = 0; i < characters.size();) {
    if (unicode::next(characters, i) == c) return true;
  }
  return false;
}

// Digits with single underscores between them; the underscores are left out. nullopt for anything else.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() &&
                         std::isalnum(static_cast<unsigned char>(text[i - 1])) &&
                         std::isalnum(static_cast<unsigned char>(text[i + 1]));
    if (!between) return std::nullopt;
  }
  return out;
}

}  // namespace

std::string_view strip(std::string_view text, Side side, std::optional<std::string_view> characters) {
  const auto goes = [&](char32_t c) { return characters ? one_of(*characters, c) : unicode::is_space(c); };
  size_t begin = 0;
  while (has(side, Side::left) && begin < text.size()) {
    size_t after = begin;
    if (!goes(unicode::next(text, after))) break;
    begin = after;
  }
  size_t end = text.size();
  while (has(side, Side::right) && end > begin) {
    size_t before = end;
    if (!goes(unicode::previous(text, before))) break;
    end = before;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> split(std::string_view text, int64_t limit) {
  std::vector<std::string_view> parts;
  text = strip(text, Side::left);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    for (size_t i = 0; i < text.size(); end = i) {
      if (unicode::is_space(unicode::next(text, i))) break;
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), Side::left);
  }
  return parts;
}

std::vector<std::string_view> split_right(std::string_view text, int64_t limit) {
  std::vector<std::string_view> parts;
  text = strip(text, Side::right);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    size_t begin = text.size();
    for (size_t i = text.size(); i > 0; begin = i) {
      if (unicode::is_space(unicode::previous(text, i))) break;
    }
    parts.push_back(text.substr(begin));
    text = strip(text.substr(0, begin), Side::right);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator, int64_t limit) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = limit >= 0 && static_cast<int64_t>(parts.size()) == limit ? std::string_view::npos
                                                                                : text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator.size());
  }
}

std::vector<std::string_view> split_right(std::string_view text, std::string_view separator, int64_t limit) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = limit >= 0 && static_cast<int64_t>(parts.size()) == limit ? std::string_view::npos
                                                                                : text.rfind(separator);
    if (at == std::string_view::npos) {
      parts.push_back(text);
      break;
    }
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  for (size_t i = 0, start = 0; i < text.size();) {
    const size_t at = i;
    const char32_t c = unicode::next(text, i);
    const bool breaks = unicode::is_line_break(c);
    if (c == U'\r' && i < text.size() && text[i] == '\n') ++i;
    if (breaks) {
      lines.push_back(text.substr(start, (keep_ends ? i : at) - start));
      start = i;
    } else if (i == text.size()) {
      lines.push_back(text.substr(start));
    }
  }
  return lines;
}

std::string replace(std::string_view text, std::string_view old, std::string_view fresh, int64_t limit) {
  TextBuilder out;
  int64_t done = 0;
  if (old.empty()) {  // between all code points, and at both ends
    for (size_t i = 0;;) {
      if (limit >= 0 && done++ >= limit) {
        out += text.substr(i);
        break;
      }
      out += fresh;
      if (i >= text.size()) break;
      const size_t start = i;
      unicode::next(text, i);
      out += text.substr(start, i - start);
    }
    return out.take();
  }
  for (;;) {
    const size_t at = limit >= 0 && done >= limit ? std::string_view::npos : text.find(old);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out.take();
    out += fresh;
    text.remove_prefix(at + old.size());
    ++done;
  }
}

size_t count(std::string_view text, std::string_view part) {
  if (part.empty()) return unicode::length(text) + 1;
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++found;
  return found;
}

std::string pad(std::string_view text, int64_t width, std::string_view fill, Side text_at) {
  const auto length = static_cast<int64_t>(unicode::length(text));
  const int64_t missing = std::max<int64_t>(0, width - length);
  int64_t left = 0;
  if (text_at == Side::right) left = missing;
  // CPython's rule for the odd one
  if (text_at == Side::both) left = missing / 2 + (missing & width & 1);
  TextBuilder out;
  out.repeat(fill, static_cast<size_t>(left));
  out += text;
  out.repeat(fill, static_cast<size_t>(missing - left));
  return out.take();
}

std::string escape_html(std::string_view text) {
  TextBuilder out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += std::string_view(&c, 1);
    }
  }
  return out.take();
}

std::optional<int64_t> parse_integer(std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  text = strip(text, Side::both);
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const auto prefix = [&](char letter, int64_t prefix_base) {
    if (text.size() < 3 || text[0] != '0' || (text[1] | 0x20) != letter) return false;
    if (base != 0 && base != prefix_base) return false;
    base = prefix_base;
    text.remove_prefix(text[2] == '_' ? 3 : 2);
    return true;
  };
  if (!prefix('x', 16) && !prefix('o', 8) && !prefix('b', 2) && base == 0) {
    // Without a prefix only zeros may begin with a zero.
    if (text.starts_with("0") && text.find_first_not_of("0_") != std::string_view::npos) return std::nullopt;
    base = 10;
  }
  const auto digits = without_underscores(text);
  if (!digits || digits->empty() || digits->front() == '-') return std::nullopt;
  const std::string signed_digits = (negative ? "-" : "") + *digits;
  int64_t number = 0;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto [stop, error] = std::from_chars(signed_digits.data(), end, number, static_cast<int>(base));
  if (error == std::errc::result_out_of_range && stop == end) {
    fail(ErrorCode::unsupported, "an integer beyond 64 bits");
  }
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

std::optional<double> parse_real(std::string_view text) {
  const auto digits = without_underscores(strip(text, Side::both));
  if (!digits || digits->empty()) return std::nullopt;
  std::string_view rest = *digits;
  if (rest.front() == '+') rest.remove_prefix(1);
  if (rest.empty() || rest.front() == '+') return std::nullopt;
  // from_chars knows "nan(...)", Python does not.
  if (rest.find('(') != std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (stop != rest.data() + rest.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // Too large or too small, which from_chars does not tell: a negative exponent means too small.
    const size_t exponent = rest.find_first_of("eE");
    const bool small = exponent == std::string_view::npos
                           ? rest.find('.') < 2
                           : rest.find('-', exponent) != std::string_view::npos;
    const double magnitude = small ? 0.0 : std::numeric_limits<double>::infinity();
    return rest.front() == '-' ? -magnitude : magnitude;
  }
  if (error != std::errc()) return std::nullopt;
  return number;
}

}  // namespace cairn::jinja
