#include <cmath>

#include "jinja/format.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/text_tools.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

struct Conversion {
  bool left = false, zero = false, sign = false, blank = false, alternate = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = 's';
};

int64_t digits(std::string_view format, size_t& i) {
  int64_t number = 0;
  while (i < format.size() && format[i] >= '0' && format[i] <= '9') {
    number = number * 10 + (format[i++] - '0');
    if (number > 1'000'000) fail(ErrorCode::unsupported, "a format width beyond 1000000");
  }
  return number;
}

// Where the values of the conversions come from: a tuple in turn, a mapping by name, or one single value.
class Source {
 public:
  explicit Source(const Value& values) : values_(values) {}

  const Value& next() {
    if (values_.is(Kind::tuple)) {
      if (used_ >= values_.items().size()) missing();
      return values_.items()[used_++];
    }
    if (used_++ > 0) missing();
    return values_;
  }
  const Value& named(std::string_view name) {
    require_defined(values_);
    if (!values_.is(Kind::dict)) fail(ErrorCode::invalid_argument, "format requires a mapping");
    const Value* value = values_.dict().find(name);
    if (!value) fail(ErrorCode::invalid_argument, "KeyError: {}", represent_text(name));
    by_name_ = true;
    return *value;
  }
  void finish() const {
    // What has items counts as a mapping, of which nothing need be used.
    if (by_name_ || values_.is(Kind::dict) || values_.is(Kind::list) || values_.is_missing()) return;
    const size_t given = values_.is(Kind::tuple) ? values_.items().size() : 1;
    if (used_ < given) {
      fail(ErrorCode::invalid_argument, "not all arguments converted during string formatting");
    }
  }

 private:
  [[noreturn]] static void missing() {
    fail(ErrorCode::invalid_argument, "not enough arguments for format string");
  }
  const Value& values_;
  size_t used_ = 0;
  bool by_name_ = false;
};

std::string ascii(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<uint32_t>(unicode::next(text, i));
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c <= 0xFF) {
      out += fmt::format("\\x{:02x}", c);
    } else if (c <= 0xFFFF) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += fmt::format("\\U{:08x}", c);
    }
  }
  return out;
}

std::string character(const Value& value) {
  if (value.is_text() && unicode::length(value.text()) == 1) return std::string(value.text());
  if (!value.is_integral()) fail(ErrorCode::invalid_argument, "%c requires int or char");
  const int64_t c = value.integer();
  if (c < 0 || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
    fail(ErrorCode::invalid_argument, "%c arg not in range(0x110000)");
  }
  std::string out;
  unicode::append(out, static_cast<char32_t>(c));
  return out;
}

// A number's sign, its prefix (0x, 0o) and its digits, apart: zeros go between them.
struct Number {
  std::string sign, prefix, digits;
};

Number integer_parts(const Conversion& c, const Value& value) {
  if (!value.is_number() || (value.is(Kind::real) && c.type != 'd')) {
    fail(ErrorCode::invalid_argument, "%{} format: {} is required, not {}", c.type,
         c.type == 'd' ? "a real number" : "an integer", type_name(value));
  }
  int64_t number = 0;
  if (value.is(Kind::real)) {
    const double whole = std::trunc(value.real());
    if (!std::isfinite(whole)) fail(ErrorCode::invalid_argument, "cannot convert float to integer");
    if (std::abs(whole) >= 0x1p63) fail(ErrorCode::unsupported, "an integer beyond 64 bits");
    number = static_cast<int64_t>(whole);
  } else {
    number = value.integer();
  }
  const uint64_t magnitude =
      number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  Number out;
  if (number < 0) out.sign = "-";
  switch (c.type) {
    case 'x':
      out.digits = fmt::format("{:x}", magnitude);
      break;
    case 'X':
      out.digits = fmt::format("{:X}", magnitude);
      break;
    case 'o':
      out.digits = fmt::format("{:o}", magnitude);
      break;
    default:
      out.digits = fmt::format("{}", magnitude);
  }
  if (c.alternate && c.type != 'd') out.prefix = std::string("0") + c.type;
  if (c.precision > static_cast<int64_t>(out.digits.size())) {
    out.digits.insert(0, static_cast<size_t>(c.precision) - out.digits.size(), '0');
  }
  return out;
}

Number real_parts(const Conversion& c, const Value& value) {
  require_defined(value);
  if (!value.is_number()) {
    fail(ErrorCode::invalid_argument, "must be real number, not {}", type_name(value));
  }
  if (c.precision > 400) fail(ErrorCode::unsupported, "more than 400 digits of a number");
  Number out;
  out.digits =
      format_real(value.real(), c.type, c.precision < 0 ? 6 : static_cast<int>(c.precision), c.alternate);
  if (out.digits.starts_with("-")) {
    out.sign = "-";
    out.digits.erase(0, 1);
  }
  return out;
}

std::string convert(Runtime& runtime, const Conversion& c, const Value& value) {
  std::string text;
  switch (c.type) {
    case 's':
    case 'r':
    case 'a':
      text = c.type == 's' ? to_text(runtime, value) : represent(runtime, value);
      if (c.type == 'a') text = ascii(text);
      if (c.precision >= 0) text.resize(unicode::offset(text, static_cast<size_t>(c.precision)));
      break;
    case 'c':
      text = character(value);
      break;
    default: {
      const bool whole = c.type == 'd' || c.type == 'x' || c.type == 'X' || c.type == 'o';
      Number number = whole ? integer_parts(c, value) : real_parts(c, value);
      if (number.sign.empty() && (c.sign || c.blank)) number.sign = c.sign ? "+" : " ";
      const auto used =
          static_cast<int64_t>(number.sign.size() + number.prefix.size() + number.digits.size());
      if (c.zero && !c.left && used < c.width)
        number.digits.insert(0, static_cast<size_t>(c.width - used), '0');
      text = number.sign + number.prefix + number.digits;
    }
  }
  return pad(text, c.width, " ", c.left ? Side::left : Side::right);
}

}  // namespace

std::string format_real(double number, char type, int precision, bool alternate) {
  if (!std::isfinite(number)) {
    const std::string text = represent_real(number);
    if (type == 'E' || type == 'F' || type == 'G') return text == "nan" ? "NAN" : number < 0 ? "-INF" : "INF";
    return text;
  }
  switch (type) {
    case 'e':
      return alternate ? fmt::format("{:#.{}e}", number, precision)
                       : fmt::format("{:.{}e}", number, precision);
    case 'E':
      return alternate ? fmt::format("{:#.{}E}", number, precision)
                       : fmt::format("{:.{}E}", number, precision);
    case 'g':
      return alternate ? fmt::format("{:#.{}g}", number, precision)
                       : fmt::format("{:.{}g}", number, precision);
    case 'G':
      return alternate ? fmt::format("{:#.{}G}", number, precision)
                       : fmt::format("{:.{}G}", number, precision);
    default:
      return alternate ? fmt::format("{:#.{}f}", number, precision)
                       : fmt::format("{:.{}f}", number, precision);
  }
}

std::string format_percent(Runtime& runtime, std::string_view format, const Value& values) {
  TextBuilder out;
  Source source(values);
  for (size_t i = 0; i < format.size();) {
    const size_t percent = std::min(format.find('%', i), format.size());
    out += format.substr(i, percent - i);
    i = percent + 1;
    if (percent == format.size()) break;
    if (i < format.size() && format[i] == '%') {
      out += "%";
      ++i;
      continue;
    }
    std::optional<std::string_view> name;
    if (i < format.size() && format[i] == '(') {
      const size_t close = format.find(')', i);
      if (close == std::string_view::npos) fail(ErrorCode::invalid_argument, "incomplete format key");
      name = format.substr(i + 1, close - i - 1);
      i = close + 1;
    }
    Conversion c;
    for (; i < format.size() && std::string_view("-0+ #").find(format[i]) != std::string_view::npos; ++i) {
      c.left |= format[i] == '-';
      c.zero |= format[i] == '0';
      c.sign |= format[i] == '+';
      c.blank |= format[i] == ' ';
      c.alternate |= format[i] == '#';
    }
    if (i < format.size() && format[i] == '*') fail(ErrorCode::unsupported, "'*' as the width of a %-format");
    c.width = digits(format, i);
    if (i < format.size() && format[i] == '.') c.precision = digits(format, ++i);
    if (i >= format.size()) fail(ErrorCode::invalid_argument, "incomplete format");
    c.type = format[i++];
    if (c.type == 'i' || c.type == 'u') c.type = 'd';
    if (std::string_view("sradxXoceEfFgG").find(c.type) == std::string_view::npos) {
      fail(ErrorCode::invalid_argument, "unsupported format character '{}' (0x{:x}) at index {}",
           c.type >= 32 && c.type < 127 ? c.type : '?', static_cast<unsigned char>(c.type),
           unicode::length(format.substr(0, i - 1)));
    }
    out += convert(runtime, c, name ? source.named(*name) : source.next());
  }
  source.finish();
  return out.take();
}

}  // namespace cairn::jinja
