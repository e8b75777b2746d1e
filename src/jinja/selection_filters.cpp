#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {
namespace {

std::string callable_name(Runtime& runtime, const Value& name) {
  if (name.is_missing()) {
    fail(ErrorCode::invalid_argument,
         "No filter named Undefined. ({}; did you forget to quote the callable name?)", name.message());
  }
  return to_text(runtime, name);
}

Arguments after(const Arguments& arguments, size_t count) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

// An item's image under map: an attribute of it, or a filter applied to it.
std::function<Value(Value)> mapping(Runtime& runtime, const Arguments& arguments) {
  if (!arguments.positional.empty()) {
    const std::string name = callable_name(runtime, arguments.positional[0]);
    return [&runtime, name, rest = after(arguments, 1)](const Value& item) {
      return apply_filter(runtime, name, item, rest);
    };
  }
  Value attribute, otherwise;
  bool by_attribute = false;
  for (const auto& [name, value] : arguments.named) by_attribute |= name == "attribute";
  if (!by_attribute) fail(ErrorCode::invalid_argument, "map requires a filter argument");
  for (const auto& [name, value] : arguments.named) {
    if (name == "attribute") {
      attribute = value;
    } else if (name == "default") {
      otherwise = value;
    } else {
      fail(ErrorCode::invalid_argument, "Unexpected keyword argument {}", represent_text(name));
    }
  }
  return [&runtime, path = Path(attribute), otherwise](Value item) {
    return path.follow(runtime, std::move(item), &otherwise);
  };
}

// jinja2's map, select and reject do nothing, not even complain, when their input is false.
Value map(Runtime& runtime, const Value& input, const Arguments& arguments) {
  std::shared_ptr<Iterator> source;
  std::function<Value(Value)> image;
  return Value(generator(input, [&runtime, input, arguments, source, image](Value& item) mutable {
    if (!source) {
      if (!truth(input)) return false;
      image = mapping(runtime, arguments);
      source = iterate(runtime, input);
    }
    const Nested nested(runtime);
    if (!source->next(item)) return false;
    item = image(std::move(item));
    return true;
  }));
}

using Predicate = std::function<bool(const Value&)>;

Predicate predicate(Runtime& runtime, const Arguments& arguments, bool by_attribute) {
  if (by_attribute && arguments.positional.empty()) {
    fail(ErrorCode::invalid_argument, "Missing parameter for attribute name");
  }
  const size_t offset = by_attribute ? 1 : 0;
  const Path path(by_attribute ? arguments.positional[0] : Value());
  if (arguments.positional.size() <= offset) {
    return [&runtime, path](const Value& item) { return truth(path.follow(runtime, item)); };
  }
  const std::string name = callable_name(runtime, arguments.positional[offset]);
  return [&runtime, path, name, rest = after(arguments, offset + 1)](const Value& item) {
    return apply_test(runtime, name, path.follow(runtime, item), rest);
  };
}

template <bool wanted, bool by_attribute>
Value select(Runtime& runtime, const Value& input, const Arguments& arguments) {
  std::shared_ptr<Iterator> source;
  Predicate holds;
  return Value(generator(input, [&runtime, input, arguments, source, holds](Value& item) mutable {
    if (!source) {
      if (!truth(input)) return false;
      holds = predicate(runtime, arguments, by_attribute);
      source = iterate(runtime, input);
    }
    const Nested nested(runtime);
    while (source->next(item)) {
      if (holds(item) == wanted) return true;
    }
    return false;
  }));
}

Value attr(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("attr", arguments, {"name"}, 1);
  const auto name = a.text(0);
  require_defined(input);
  if (auto member = find_member(runtime, input, name)) return *member;
  return Value::missing(
      fmt::format("{} has no attribute {}", represent_text(described_type(input)), represent_text(name)));
}

constexpr Method table[] = {
    {"attr", attr},
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
};

}  // namespace

std::span<const Method> selection_filters() {
  return table;
}

}  // namespace cairn::jinja
