#include <algorithm>

#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {
namespace {

template <bool (*holds)(const Value&)>
Value simple(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("test", arguments, {});
  return holds(input);
}

bool defined(const Value& v) {
  return !v.is_missing();
}
bool undefined(const Value& v) {
  return v.is_missing();
}
bool none(const Value& v) {
  return v.is_none();
}
bool boolean(const Value& v) {
  return v.is(Kind::boolean);
}
bool is_true(const Value& v) {
  return v.is(Kind::boolean) && v.boolean();
}
bool is_false(const Value& v) {
  return v.is(Kind::boolean) && !v.boolean();
}
bool integer(const Value& v) {
  return v.is(Kind::integer);
}
bool real(const Value& v) {
  return v.is(Kind::real);
}
bool number(const Value& v) {
  return v.is_number();
}
bool text(const Value& v) {
  return v.is_text();
}
bool mapping(const Value& v) {
  return v.is(Kind::dict);
}
bool escaped(const Value& v) {
  return v.markup();
}
// Undefined has a length, items and a call operator, each of which complains only when it is used.
bool sequence(const Value& v) {
  if (v.is(Kind::object)) return v.as<Range>() || v.object().type() == "_GroupTuple";
  return v.is_text() || v.is_sequence() || v.is(Kind::dict) || v.is_missing();
}
bool iterable(const Value& v) {
  return v.is(Kind::object) ? v.object().iterable() : sequence(v);
}
bool callable(const Value& v) {
  return v.is(Kind::object) ? v.object().callable() : v.is_missing();
}

bool remainder_is(Runtime& runtime, const Value& value, const Value& divisor, int64_t wanted) {
  return equal(arithmetic(runtime, Arithmetic::modulo, value, divisor), wanted);
}

template <int64_t wanted>
Value parity(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("test", arguments, {});
  return remainder_is(runtime, input, 2, wanted);
}

Value divisible(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("divisibleby", arguments, {"num"}, 1);
  return remainder_is(runtime, input, a[0], 0);
}

template <Order order>
Value compares(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("test", arguments, {""}, 1);
  return ordered(runtime, order, input, a[0]);
}

template <bool wanted>
Value equals(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("test", arguments, {""}, 1);
  return compare_equal(runtime, input, a[0]) == wanted;
}

Value in(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("in", arguments, {"seq"}, 1);
  return contains(runtime, a[0], input);
}

Value same(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound a("sameas", arguments, {"other"}, 1);
  if (input.kind() != a[0].kind()) return false;
  // CPython shares equal short strings more often than not.
  if (input.identity() && !input.is_text()) return input.identity() == a[0].identity();
  return equal(input, a[0]);
}

template <bool upper>
Value letter_case(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("test", arguments, {});
  return find_text_method(upper ? "isupper" : "islower")
      ->builtin(runtime, Value(to_text(runtime, input)), {});
}

template <const Method* (*find)(std::string_view)>
Value known(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("test", arguments, {});
  require_hashable(input);
  return input.is_text() && find(input.text()) != nullptr;
}

constexpr Method table[] = {
    {"!=", equals<false>},
    {"<", compares<Order::less>},
    {"<=", compares<Order::less_equal>},
    {"==", equals<true>},
    {">", compares<Order::greater>},
    {">=", compares<Order::greater_equal>},
    {"boolean", simple<boolean>},
    {"callable", simple<callable>},
    {"defined", simple<defined>},
    {"divisibleby", divisible},
    {"eq", equals<true>},
    {"equalto", equals<true>},
    {"escaped", simple<escaped>},
    {"even", parity<0>},
    {"false", simple<is_false>},
    {"filter", known<find_filter>},
    {"float", simple<real>},
    {"ge", compares<Order::greater_equal>},
    {"greaterthan", compares<Order::greater>},
    {"gt", compares<Order::greater>},
    {"in", in},
    {"integer", simple<integer>},
    {"iterable", simple<iterable>},
    {"le", compares<Order::less_equal>},
    {"lessthan", compares<Order::less>},
    {"lower", letter_case<false>},
    {"lt", compares<Order::less>},
    {"mapping", simple<mapping>},
    {"ne", equals<false>},
    {"none", simple<none>},
    {"number", simple<number>},
    {"odd", parity<1>},
    {"sameas", same},
    {"sequence", simple<sequence>},
    {"string", simple<text>},
    {"test", known<find_test>},
    {"true", simple<is_true>},
    {"undefined", simple<undefined>},
    {"upper", letter_case<true>},
};

}  // namespace

const Method* find_test(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(table), std::end(table), [&](const Method& m) { return m.name == name; });
  return found == std::end(table) ? nullptr : found;
}

}  // namespace cairn::jinja
