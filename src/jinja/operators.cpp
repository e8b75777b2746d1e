#include "jinja/operators.hpp"

#include <algorithm>

#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

std::string_view symbol(Order op) {
  switch (op) {
    case Order::less:
      return "<";
    case Order::less_equal:
      return "<=";
    case Order::greater:
      return ">";
    case Order::greater_equal:
      return ">=";
  }
  return "?";
}

template <class T>
bool holds(Order op, const T& a, const T& b) {
  switch (op) {
    case Order::less:
      return a < b;
    case Order::less_equal:
      return a <= b;
    case Order::greater:
      return a > b;
    case Order::greater_equal:
      return a >= b;
  }
  return false;
}

bool ordered_items(Runtime& runtime, Order op, const std::vector<Value>& a, const std::vector<Value>& b) {
  const size_t common = std::min(a.size(), b.size());
  for (size_t i = 0; i < common; ++i) {
    if (!equal(a[i], b[i])) return ordered(runtime, op, a[i], b[i]);
  }
  return holds(op, a.size(), b.size());
}

[[noreturn]] void not_iterable(const Value& value) {
  fail(ErrorCode::invalid_argument, "'{}' object is not iterable", type_name(value));
}

}  // namespace

bool compare_equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.step(std::min(a.extent().weight, b.extent().weight));
  return equal(a, b);
}

bool ordered(Runtime& runtime, Order op, const Value& a, const Value& b) {
  runtime.step(std::min(a.extent().weight, b.extent().weight));
  if (a.is_integral() && b.is_integral()) return holds(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) {
    const auto exact = [](const Value& v) {
      return v.is(Kind::real) ? static_cast<long double>(v.real()) : static_cast<long double>(v.integer());
    };
    return holds(op, exact(a), exact(b));
  }
  if (a.is_text() && b.is_text()) return holds(op, a.text(), b.text());  // UTF-8 sorts as code points do
  if (a.is_sequence() && a.kind() == b.kind()) return ordered_items(runtime, op, a.items(), b.items());
  require_defined(a);
  require_defined(b);
  fail(ErrorCode::invalid_argument, "'{}' not supported between instances of '{}' and '{}'", symbol(op),
       type_name(a), type_name(b));
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::text:
      if (!item.is_text()) {
        fail(ErrorCode::invalid_argument, "'in <string>' requires string as left operand, not {}",
             type_name(item));
      }
      runtime.step(container.extent().weight);
      return container.text().find(item.text()) != std::string_view::npos;
    case Kind::list:
    case Kind::tuple:
      for (const Value& candidate : container.items()) {
        if (compare_equal(runtime, candidate, item)) return true;
      }
      return false;
    case Kind::dict:
      return container.dict().find(item) != nullptr;
    case Kind::missing:
      return false;
    case Kind::object:
      if (container.object().iterable()) {
        const auto iterator = container.object().iterate();
        for (Value candidate; iterator->next(candidate);) {
          if (compare_equal(runtime, candidate, item)) return true;
        }
        return false;
      }
      [[fallthrough]];
    default:
      fail(ErrorCode::invalid_argument, "argument of type '{}' is not iterable", type_name(container));
  }
}

size_t length(const Value& value) {
  switch (value.kind()) {
    case Kind::text:
      return unicode::length(value.text());
    case Kind::list:
    case Kind::tuple:
      return value.items().size();
    case Kind::dict:
      return value.dict().size();
    case Kind::missing:
      return 0;
    case Kind::object:
      if (const auto count = value.object().length()) return *count;
      [[fallthrough]];
    default:
      fail(ErrorCode::invalid_argument, "object of type '{}' has no len()", type_name(value));
  }
}

std::shared_ptr<Iterator> iterate(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::text: {
      size_t position = 0;
      return generator(
          value,
          [&runtime, value, position](Value& item) mutable {
            if (position >= value.text().size()) return false;
            runtime.made_items(1);
            const size_t start = position;
            unicode::next(value.text(), position);
            item = Value(value.text().substr(start, position - start));
            return true;
          },
          "str_iterator");
    }
    case Kind::list:
    case Kind::tuple: {
      size_t i = 0;
      return generator(
          value,
          [&runtime, value, i](Value& item) mutable {
            if (i >= value.items().size()) return false;
            runtime.step();
            item = value.items()[i++];
            return true;
          },
          "list_iterator");
    }
    case Kind::dict:
      return std::make_shared<View>(value, View::Part::keys)->iterate();
    case Kind::missing:
      return generator(value, [](Value&) { return false; });
    case Kind::object:
      if (value.object().iterable()) return value.object().iterate();
      [[fallthrough]];
    default:
      not_iterable(value);
  }
}

std::vector<Value> collect(Runtime& runtime, const Value& value) {
  if (value.is_sequence()) {
    runtime.made_items(value.items().size());
    return value.items();
  }
  std::vector<Value> items;
  const auto iterator = iterate(runtime, value);
  for (Value item; iterator->next(item);) {
    runtime.made_items(1);
    items.push_back(std::move(item));
  }
  return items;
}

std::shared_ptr<Iterator> reversed(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::text:
    case Kind::list:
    case Kind::tuple:
    case Kind::missing: {
      std::vector<Value> items = collect(runtime, value);
      std::reverse(items.begin(), items.end());
      return iterate(runtime, Value::list(std::move(items)));
    }
    case Kind::dict:
      return std::make_shared<View>(value, View::Part::keys)->reversed();
    case Kind::object:
      if (auto iterator = value.object().reversed()) return iterator;
      [[fallthrough]];
    default:
      fail(ErrorCode::invalid_argument, "'{}' object is not reversible", type_name(value));
  }
}

Value call(Runtime& runtime, const Value& callee, Arguments& arguments) {
  require_defined(callee);
  if (!callee.is(Kind::object) || !callee.object().callable()) {
    fail(ErrorCode::invalid_argument, "'{}' object is not callable", type_name(callee));
  }
  const Nested nested(runtime);
  return callee.object().call(runtime, arguments);
}

}  // namespace cairn::jinja
