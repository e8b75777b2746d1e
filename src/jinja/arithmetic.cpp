#include <cmath>

#include "jinja/format.hpp"
#include "jinja/limits.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/text_tools.hpp"

namespace cairn::jinja {
namespace {

std::string_view symbol(Arithmetic op) {
  switch (op) {
    case Arithmetic::add:
      return "+";
    case Arithmetic::subtract:
      return "-";
    case Arithmetic::multiply:
      return "*";
    case Arithmetic::divide:
      return "/";
    case Arithmetic::floor_divide:
      return "//";
    case Arithmetic::modulo:
      return "%";
    case Arithmetic::power:
      return "** or pow()";
  }
  return "?";
}

[[noreturn]] void overflow() {
  fail(ErrorCode::unsupported, "an integer beyond 64 bits");
}

[[noreturn]] void mismatch(Arithmetic op, const Value& a, const Value& b) {
  fail(ErrorCode::invalid_argument, "unsupported operand type(s) for {}: '{}' and '{}'", symbol(op),
       type_name(a), type_name(b));
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail(ErrorCode::invalid_argument, "0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return result;
}

Value integers(Arithmetic op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Arithmetic::add:
      if (__builtin_add_overflow(a, b, &result)) overflow();
      return result;
    case Arithmetic::subtract:
      if (__builtin_sub_overflow(a, b, &result)) overflow();
      return result;
    case Arithmetic::multiply:
      if (__builtin_mul_overflow(a, b, &result)) overflow();
      return result;
    case Arithmetic::divide:
      if (b == 0) fail(ErrorCode::invalid_argument, "division by zero");
      return static_cast<double>(a) / static_cast<double>(b);
    case Arithmetic::floor_divide:
    case Arithmetic::modulo: {
      if (b == 0)
        fail(ErrorCode::invalid_argument, "{}",
             op == Arithmetic::modulo ? "integer modulo by zero" : "integer division or modulo by zero");
      if (b == -1) {  // INT64_MIN / -1 traps
        if (op == Arithmetic::modulo) return 0;
        if (__builtin_sub_overflow(int64_t{0}, a, &result)) overflow();
        return result;
      }
      int64_t quotient = a / b;
      int64_t remainder = a % b;
      if (remainder != 0 && (remainder < 0) != (b < 0)) {
        --quotient;
        remainder += b;
      }
      return op == Arithmetic::modulo ? remainder : quotient;
    }
    case Arithmetic::power:
      return integer_power(a, b);
  }
  return result;
}

// float.__divmod__ of CPython: the quotient is corrected so that it and the remainder fit together.
Value real_floor(Arithmetic op, double a, double b) {
  if (b == 0) {
    fail(ErrorCode::invalid_argument, "{}",
         op == Arithmetic::modulo ? "float modulo" : "float floor division by zero");
  }
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Arithmetic::modulo) return remainder;
  if (quotient == 0) return std::copysign(0.0, a / b);
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1;
  return floored;
}

Value reals(Arithmetic op, double a, double b) {
  switch (op) {
    case Arithmetic::add:
      return a + b;
    case Arithmetic::subtract:
      return a - b;
    case Arithmetic::multiply:
      return a * b;
    case Arithmetic::divide:
      if (b == 0) fail(ErrorCode::invalid_argument, "float division by zero");
      return a / b;
    case Arithmetic::power: {
      if (a == 0 && b < 0) fail(ErrorCode::invalid_argument, "0.0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(a) && std::isfinite(b) && std::trunc(b) != b) {
        fail(ErrorCode::unsupported, "complex numbers");
      }
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
        fail(ErrorCode::invalid_argument, "(34, 'Numerical result out of range')");
      }
      return result;
    }
    default:
      return real_floor(op, a, b);
  }
}

Value concatenate(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) {
    TextBuilder out;
    const bool markup = a.markup() || b.markup();
    // A str next to a Markup is escaped.
    if (markup && !a.markup()) {
      out += escape_html(a.text());
    } else {
      out += a.text();
    }
    if (markup && !b.markup()) {
      out += escape_html(b.text());
    } else {
      out += b.text();
    }
    return Value(out.take(), markup);
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    runtime.made_items(a.items().size() + b.items().size());
    std::vector<Value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
  }
  if (a.is_text() || a.is_sequence()) {
    fail(ErrorCode::invalid_argument, "can only concatenate {} (not \"{}\") to {}", type_name(a),
         type_name(b), type_name(a));
  }
  mismatch(Arithmetic::add, a, b);
}

Value repeat(Runtime& runtime, const Value& value, int64_t count) {
  const size_t times = count > 0 ? static_cast<size_t>(count) : 0;
  if (value.is_text()) {
    TextBuilder out;
    out.repeat(value.text(), times);
    return Value(out.take(), value.markup());
  }
  const size_t length = value.items().size();
  std::vector<Value> items;
  if (length > 0) {
    runtime.made_items(times > limits::bytes_at_most ? times : length * times);
    items.reserve(length * times);
    for (size_t i = 0; i < times; ++i) items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

// What a Markup's % sees of its values.
Value escaped(Runtime& runtime, const Value& value) {
  if (value.is_number() || value.markup() || value.is_missing()) return value;
  if (value.is(Kind::tuple)) {
    std::vector<Value> items;
    for (const Value& item : value.items()) items.push_back(escaped(runtime, item));
    return Value::tuple(std::move(items));
  }
  if (value.is(Kind::dict)) {
    Dict dict;
    for (const auto& [key, item] : value.dict().entries()) dict.set(key, escaped(runtime, item));
    return Value::dict(std::move(dict));
  }
  return Value(escape_html(to_text(runtime, value)), true);
}

}  // namespace

Value arithmetic(Runtime& runtime, Arithmetic op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return integers(op, a.integer(), b.integer());
    return reals(op, a.real(), b.real());
  }
  // str has a % of its own, which comes before Undefined's; every other operator asks Undefined first.
  if (op == Arithmetic::modulo && a.is_text()) {
    return Value(format_percent(runtime, a.text(), a.markup() ? escaped(runtime, b) : b), a.markup());
  }
  require_defined(a);
  require_defined(b);
  if (op == Arithmetic::add) return concatenate(runtime, a, b);
  if (op == Arithmetic::multiply) {
    const bool left = a.is_text() || a.is_sequence();
    if (left && b.is_integral()) return repeat(runtime, a, b.integer());
    if ((b.is_text() || b.is_sequence()) && a.is_integral()) return repeat(runtime, b, a.integer());
    if (left || b.is_text() || b.is_sequence()) {
      fail(ErrorCode::invalid_argument, "can't multiply sequence by non-int of type '{}'",
           type_name(left ? b : a));
    }
  }
  mismatch(op, a, b);
}

Value negate(const Value& value) {
  require_defined(value);
  if (value.is(Kind::real)) return -value.real();
  if (value.is_integral()) return integers(Arithmetic::subtract, 0, value.integer());
  fail(ErrorCode::invalid_argument, "bad operand type for unary -: '{}'", type_name(value));
}

Value plus(const Value& value) {
  require_defined(value);
  if (value.is(Kind::real)) return value;
  if (value.is_integral()) return value.integer();
  fail(ErrorCode::invalid_argument, "bad operand type for unary +: '{}'", type_name(value));
}

}  // namespace cairn::jinja
