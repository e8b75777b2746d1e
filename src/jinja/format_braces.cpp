#include <algorithm>
#include <cmath>
#include <optional>

#include "jinja/format.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/text_tools.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

// [[fill]align][sign][#][0][width][grouping][.precision][type], Python's format specification.
struct Specification {
  std::string fill = " ";
  char align = 0, sign = '-', grouping = 0, type = 0;
  bool alternate = false;
  int64_t width = 0, precision = -1;
};

int64_t digits(std::string_view text, size_t& i, int64_t otherwise) {
  const size_t start = i;
  int64_t number = 0;
  while (i < text.size() && text[i] >= '0' && text[i] <= '9') {
    number = number * 10 + (text[i++] - '0');
    if (number > 1'000'000) fail(ErrorCode::unsupported, "a format width beyond 1000000");
  }
  return i == start ? otherwise : number;
}

bool aligns(char c) {
  return c == '<' || c == '>' || c == '=' || c == '^';
}

Specification parse(std::string_view text) {
  Specification s;
  size_t i = 0;
  size_t after = 0;
  if (!text.empty()) unicode::next(text, after);
  if (after > 0 && after < text.size() && aligns(text[after])) {
    s.fill = text.substr(0, after);
    s.align = text[after];
    i = after + 1;
  } else if (!text.empty() && aligns(text[0])) {
    s.align = text[i++];
  }
  const auto peek = [&] { return i < text.size() ? text[i] : '\0'; };
  if (peek() == '+' || peek() == '-' || peek() == ' ') s.sign = text[i++];
  if (peek() == '#') s.alternate = ++i != 0;
  if (peek() == '0') {
    if (s.align == 0) {
      s.fill = "0";
      s.align = '=';
    }
    ++i;
  }
  s.width = digits(text, i, 0);
  if (peek() == ',' || peek() == '_') s.grouping = text[i++];
  if (peek() == '.') {
    s.precision = digits(text, ++i, -1);
    if (s.precision < 0) fail(ErrorCode::invalid_argument, "Format specifier missing precision");
  }
  if (i < text.size()) s.type = text[i++];
  if (i < text.size()) fail(ErrorCode::invalid_argument, "Invalid format specifier");
  return s;
}

std::string grouped(std::string digits_, char separator, size_t every) {
  const size_t whole = std::min(digits_.find_first_not_of("0123456789abcdefABCDEF"), digits_.size());
  for (size_t i = whole; i > every; i -= every) digits_.insert(i - every, 1, separator);
  return digits_;
}

std::string aligned(const Specification& s, const std::string& sign, std::string body, char default_align) {
  const char align = s.align ? s.align : default_align;
  if (align == '=') {
    const auto used = static_cast<int64_t>(sign.size() + unicode::length(body));
    return sign +
           pad(body, s.width - used + static_cast<int64_t>(unicode::length(body)), s.fill, Side::right);
  }
  body = sign + body;
  if (align == '^') {
    const int64_t missing = std::max<int64_t>(0, s.width - static_cast<int64_t>(unicode::length(body)));
    TextBuilder out;
    out.repeat(s.fill, static_cast<size_t>(missing / 2));
    out += body;
    out.repeat(s.fill, static_cast<size_t>(missing - missing / 2));
    return out.take();
  }
  return pad(body, s.width, s.fill, align == '<' ? Side::left : Side::right);
}

[[noreturn]] void unknown_code(char type, const Value& value) {
  fail(ErrorCode::invalid_argument, "Unknown format code '{}' for object of type '{}'", type,
       type_name(value));
}

std::string format_text(const Specification& s, const Value& value) {
  if (s.type != 0 && s.type != 's') unknown_code(s.type, value);
  if (s.align == '=' && s.fill != "0") {
    fail(ErrorCode::invalid_argument, "'=' alignment not allowed in string format specifier");
  }
  if (s.sign != '-') fail(ErrorCode::invalid_argument, "Sign not allowed in string format specifier");
  std::string_view text = value.text();
  if (s.precision >= 0) text = text.substr(0, unicode::offset(text, static_cast<size_t>(s.precision)));
  Specification plain = s;
  if (plain.align == '=') plain.align = '<';
  return aligned(plain, "", std::string(text), '<');
}

std::string sign_of(const Specification& s, bool negative) {
  if (negative) return "-";
  return s.sign == '-' ? "" : std::string(1, s.sign);
}

std::string format_real_value(const Specification& s, double number, const Value& value) {
  std::string body;
  const double magnitude = std::abs(number);
  const int precision = static_cast<int>(std::min<int64_t>(s.precision, 400));
  if (s.type == '%') {
    body = format_real(magnitude * 100, 'f', precision < 0 ? 6 : precision, s.alternate) + "%";
  } else if (s.type == 0 && precision < 0) {
    body = represent_real(magnitude);
  } else if (s.type == 0) {
    // Like g, but with a digit after the point unless there is an exponent.
    body = format_real(magnitude, 'g', precision == 0 ? 1 : precision);
    if (body.find_first_of(".en") == std::string::npos) body += ".0";
  } else if (std::string_view("eEfFgGn").find(s.type) != std::string_view::npos) {
    body = format_real(magnitude, s.type == 'n' ? 'g' : s.type, precision < 0 ? 6 : precision, s.alternate);
  } else {
    unknown_code(s.type, value);
  }
  if (s.grouping) body = grouped(std::move(body), s.grouping, 3);
  return aligned(s, sign_of(s, std::signbit(number) && !std::isnan(number)), std::move(body), '>');
}

std::string format_integer(const Specification& s, const Value& value) {
  if (std::string_view("eEfFgG%").find(s.type) != std::string_view::npos && s.type != 0) {
    return format_real_value(s, value.real(), value);
  }
  if (s.precision >= 0)
    fail(ErrorCode::invalid_argument, "Precision not allowed in integer format specifier");
  const int64_t number = value.integer();
  const uint64_t magnitude =
      number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  std::string body;
  std::string prefix;
  switch (s.type) {
    case 0:
    case 'd':
    case 'n':
      body = fmt::format("{}", magnitude);
      break;
    case 'x':
      body = fmt::format("{:x}", magnitude);
      break;
    case 'X':
      body = fmt::format("{:X}", magnitude);
      break;
    case 'o':
      body = fmt::format("{:o}", magnitude);
      break;
    case 'b':
      body = fmt::format("{:b}", magnitude);
      break;
    case 'c':
      if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF)) {
        fail(ErrorCode::invalid_argument, "%c arg not in range(0x110000)");
      }
      unicode::append(body, static_cast<char32_t>(number));
      return aligned(s, "", body, '<');
    default:
      unknown_code(s.type, value);
  }
  if (s.alternate && s.type != 0 && s.type != 'd' && s.type != 'n') prefix = std::string("0") + s.type;
  if (s.grouping) body = grouped(std::move(body), s.grouping, s.type == 0 || s.type == 'd' ? 3 : 4);
  return aligned(s, sign_of(s, number < 0) + prefix, std::move(body), '>');
}

// A replacement field, "name.attribute[index]!conversion:specification", found in the arguments.
class Fields {
 public:
  Fields(Runtime& runtime, const Arguments& arguments) : runtime_(runtime), arguments_(arguments) {}

  Value look_up(std::string_view field) {
    size_t i = std::min(field.find_first_of(".["), field.size());
    Value value = first(field.substr(0, i));
    while (i < field.size()) {
      if (field[i] == '.') {
        const size_t end = std::min(field.find_first_of(".[", i + 1), field.size());
        if (end == i + 1) fail(ErrorCode::invalid_argument, "Empty attribute in format string");
        value = get_attribute(runtime_, value, field.substr(i + 1, end - i - 1));
        i = end;
      } else if (field[i] == '[') {
        const size_t end = field.find(']', i);
        if (end == std::string_view::npos) fail(ErrorCode::invalid_argument, "Missing ']' in format string");
        const std::string_view key = field.substr(i + 1, end - i - 1);
        const bool number = !key.empty() && key.find_first_not_of("0123456789") == std::string_view::npos;
        const auto index = number ? parse_integer(key, 10) : std::nullopt;
        value = get_item(runtime_, value, index ? Value(*index) : Value(key));
        i = end + 1;
      } else {
        fail(ErrorCode::invalid_argument, "Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

 private:
  Value first(std::string_view name) {
    if (name.empty()) {
      if (numbered_) mixed("manual field specification to automatic field numbering");
      automatic_ = true;
      return position(next_++);
    }
    if (name.find_first_not_of("0123456789") == std::string_view::npos) {
      if (automatic_) mixed("automatic field numbering to manual field specification");
      numbered_ = true;
      return position(static_cast<size_t>(parse_integer(name, 10).value_or(0)));
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    fail(ErrorCode::invalid_argument, "KeyError: {}", represent_text(name));
  }
  Value position(size_t i) const {
    if (i >= arguments_.positional.size()) {
      fail(ErrorCode::invalid_argument, "Replacement index {} out of range for positional args tuple", i);
    }
    return arguments_.positional[i];
  }
  [[noreturn]] static void mixed(std::string_view what) {
    fail(ErrorCode::invalid_argument, "cannot switch from {}", what);
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool automatic_ = false, numbered_ = false;
};

// Braces in a specification ("{:{width}}") are fields too, one level deep.
std::string expand(Runtime& runtime, std::string_view format, Fields& fields, int level) {
  if (level > 2) fail(ErrorCode::invalid_argument, "Max string recursion exceeded");
  TextBuilder out;
  for (size_t i = 0; i < format.size();) {
    const char c = format[i];
    if ((c == '{' || c == '}') && i + 1 < format.size() && format[i + 1] == c && level == 1) {
      out += std::string_view(&c, 1);
      i += 2;
      continue;
    }
    if (c == '}') fail(ErrorCode::invalid_argument, "Single '}}' encountered in format string");
    if (c != '{') {
      const size_t end = std::min(format.find_first_of("{}", i), format.size());
      out += format.substr(i, end - i);
      i = end;
      continue;
    }
    size_t end = i + 1;
    for (int open = 1; end < format.size(); ++end) {
      if (format[end] == '{') ++open;
      if (format[end] == '}' && --open == 0) break;
    }
    if (end >= format.size()) {
      fail(ErrorCode::invalid_argument, "{}",
           i + 1 == format.size() ? "Single '{' encountered in format string"
                                  : "expected '}' before end of string");
    }
    const std::string_view field = format.substr(i + 1, end - i - 1);
    i = end + 1;
    // A ':' or '!' inside [...] belongs to the index.
    size_t name_end = 0;
    for (bool bracket = false; name_end < field.size(); ++name_end) {
      const char f = field[name_end];
      bracket = f == '[' || (bracket && f != ']');
      if (!bracket && (f == ':' || f == '!')) break;
    }
    Value value = fields.look_up(field.substr(0, name_end));
    std::string_view rest = field.substr(name_end);
    if (rest.starts_with("!")) {
      const char conversion = rest.size() > 1 ? rest[1] : '\0';
      if (conversion == 's') {
        value = Value(to_text(runtime, value));
      } else if (conversion == 'r') {
        value = Value(represent(runtime, value));
      } else {
        fail(ErrorCode::unsupported, "the conversion '{}' in a format string", rest);
      }
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') {
        fail(ErrorCode::invalid_argument, "expected ':' after conversion specifier");
      }
    }
    out += format_value(runtime, value,
                        expand(runtime, rest.empty() ? rest : rest.substr(1), fields, level + 1));
  }
  return out.take();
}

}  // namespace

std::string format_value(Runtime& runtime, const Value& value, std::string_view specification) {
  if (specification.empty()) return to_text(runtime, value);
  const Specification s = parse(specification);
  if (value.is_text()) return format_text(s, value);
  if (value.is(Kind::real)) return format_real_value(s, value.real(), value);
  if (value.is_integral()) return format_integer(s, value);
  fail(ErrorCode::invalid_argument, "unsupported format string passed to {}.__format__", type_name(value));
}

std::string format_braces(Runtime& runtime, std::string_view format, const Arguments& arguments) {
  Fields fields(runtime, arguments);
  return expand(runtime, format, fields, 1);
}

}  // namespace cairn::jinja
