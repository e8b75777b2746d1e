#include <algorithm>

#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/text_tools.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

const Method* find_in(std::span<const Method> table, std::string_view name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Method& m) { return m.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const Method* find_filter(std::string_view name) {
  for (const auto table : {text_filters(), number_filters(), sequence_filters(), selection_filters()}) {
    if (const Method* filter = find_in(table, name)) return filter;
  }
  return nullptr;
}

Value apply_filter(Runtime& runtime, std::string_view name, const Value& input, const Arguments& arguments) {
  const Method* filter = find_filter(name);
  if (!filter) {
    fail(ErrorCode::unsupported, "No filter named {}.", represent_text(name));
  }
  const Nested nested(runtime);
  return filter->builtin(runtime, input, arguments);
}

bool apply_test(Runtime& runtime, std::string_view name, const Value& input, const Arguments& arguments) {
  const Method* test = find_test(name);
  if (!test) fail(ErrorCode::unsupported, "No test named {}.", represent_text(name));
  return truth(test->builtin(runtime, input, arguments));
}

Path::Path(const Value& attribute) {
  if (attribute.is_none()) return;
  if (!attribute.is_text()) {
    parts_.push_back(attribute);
    return;
  }
  for (const auto part : split(attribute.text(), ".", -1)) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    const auto index = number ? parse_integer(part, 10) : std::nullopt;
    parts_.push_back(index ? Value(*index) : Value(part));
  }
}

Value Path::follow(Runtime& runtime, Value item, const Value* otherwise) const {
  for (const Value& part : parts_) {
    item = get_item(runtime, item, part);
    if (otherwise && !otherwise->is_none() && item.is_missing()) item = *otherwise;
  }
  return item;
}

Value ignore_case(const Value& value) {
  return value.is_text() ? Value(unicode::lower(value.text())) : value;
}

}  // namespace cairn::jinja
