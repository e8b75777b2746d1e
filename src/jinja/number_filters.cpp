#include <charconv>
#include <cmath>

#include "jinja/builtins.hpp"
#include "jinja/format.hpp"
#include "jinja/operators.hpp"
#include "jinja/text_tools.hpp"

namespace cairn::jinja {
namespace {

int64_t truncated(double number) {
  const double whole = std::trunc(number);
  if (std::abs(whole) >= 0x1p63) fail(ErrorCode::unsupported, "an integer beyond 64 bits");
  return static_cast<int64_t>(whole);
}

// float(value), nullopt where Python raises TypeError or ValueError
std::optional<double> real(const Value& value) {
  require_defined(value);
  if (value.is_number()) return value.real();
  if (value.is_text()) return parse_real(value.text());
  return std::nullopt;
}

Value to_int(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound a("int", arguments, {"default", "base"});
  require_defined(input);
  if (input.is_integral()) return input.integer();
  if (input.is_text()) {
    if (const auto number = parse_integer(input.text(), a.integer(1, 10))) return *number;
  }
  const auto number = real(input);
  if (input.is(Kind::real) && std::isinf(*number)) {
    fail(ErrorCode::invalid_argument, "cannot convert float infinity to integer");
  }
  if (number && std::isfinite(*number)) return truncated(*number);
  return a.get(0, 0);
}

Value to_float(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound a("float", arguments, {"default"});
  if (const auto number = real(input)) return *number;
  return a.get(0, 0.0);
}

Value absolute(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("abs", arguments, {});
  if (input.is(Kind::real)) return std::abs(input.real());
  if (input.is_integral()) return input.integer() < 0 ? negate(input) : plus(input);
  // Undefined has no __abs__, so Python's complaint is about its type.
  fail(ErrorCode::invalid_argument, "bad operand type for abs(): '{}'", type_name(input));
}

// round(number, digits) of Python: correctly rounded from the exact binary value, ties to even.
Value rounded_real(double number, int64_t digits) {
  if (!std::isfinite(number) || digits > 322) return number;
  if (digits < -308) return std::copysign(0.0, number);
  if (digits >= 0) {
    const std::string text = format_real(number, 'f', static_cast<int>(digits));
    double result = number;
    std::from_chars(text.data(), text.data() + text.size(), result);
    return result;
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(number / scale) * scale;
}

Value rounded_integer(Runtime& runtime, int64_t number, int64_t digits) {
  if (digits >= 0) return number;
  if (digits < -18) return 0;
  const int64_t scale = arithmetic(runtime, Arithmetic::power, 10, -digits).integer();
  const int64_t floor = arithmetic(runtime, Arithmetic::floor_divide, number, scale).integer();
  const int64_t rest = number - floor * scale;
  const bool up = rest * 2 > scale || (rest * 2 == scale && floor % 2 != 0);
  return arithmetic(runtime, Arithmetic::multiply, up ? floor + 1 : floor, scale);
}

Value round_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("round", arguments, {"precision", "method"});
  const std::string_view method = a.has(1) && a[1].is_text() ? a[1].text() : a.has(1) ? "" : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    fail(ErrorCode::invalid_argument, "method must be common, ceil or floor");
  }
  const int64_t digits = a.integer(0, 0);
  if (!input.is_number()) {
    fail(ErrorCode::invalid_argument, "type {} doesn't define __round__ method", type_name(input));
  }
  if (method == "common") {
    return input.is(Kind::real) ? rounded_real(input.real(), digits)
                                : rounded_integer(runtime, input.integer(), digits);
  }
  const Value scale = arithmetic(runtime, Arithmetic::power, 10, digits);
  const double scaled = arithmetic(runtime, Arithmetic::multiply, input, scale).real();
  if (!std::isfinite(scaled)) fail(ErrorCode::invalid_argument, "cannot convert float to integer");
  const int64_t whole = truncated(method == "ceil" ? std::ceil(scaled) : std::floor(scaled));
  return arithmetic(runtime, Arithmetic::divide, whole, scale);
}

Value file_size(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound a("filesizeformat", arguments, {"binary"});
  const auto bytes = real(input);
  if (!bytes) fail(ErrorCode::invalid_argument, "could not convert to float");
  const bool binary = a.flag(0, false);
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) return "1 Byte";
  if (*bytes < base) return fmt::format("{} Bytes", truncated(*bytes));
  constexpr std::string_view prefixes = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  while (i + 1 < prefixes.size() && *bytes >= unit * base) {
    unit *= base;
    ++i;
  }
  const char prefix = binary && i == 0 ? 'K' : prefixes[i];
  return fmt::format("{:.1f} {}{}", base * *bytes / (unit * base), prefix, binary ? "iB" : "B");
}

constexpr Method table[] = {
    {"abs", absolute}, {"filesizeformat", file_size}, {"float", to_float},
    {"int", to_int},   {"round", round_filter},
};

}  // namespace

std::span<const Method> number_filters() {
  return table;
}

}  // namespace cairn::jinja
