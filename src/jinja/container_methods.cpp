#include <algorithm>
#include <cmath>

#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {
namespace {

template <View::Part part>
Value view(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("dict view", arguments, {});
  return Value(std::make_shared<View>(self, part));
}

Value get(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("get", arguments, {"", ""}, 1);
  const Value* found = self.dict().find(a[0]);
  return found ? *found : a.get(1);
}

Value copy(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("copy", arguments, {});
  return self;  // nothing can change it, so nothing can tell them apart
}

Value count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound a("count", arguments, {""}, 1);
  size_t found = 0;
  for (const Value& item : self.items()) found += compare_equal(runtime, item, a[0]) ? 1 : 0;
  return found;
}

Value index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound a("index", arguments, {"", "", ""}, 1);
  const auto size = static_cast<int64_t>(self.items().size());
  const auto place = [&](size_t i, int64_t otherwise) {
    const int64_t at = a.integer(i, otherwise);
    return at < 0 ? std::max<int64_t>(0, at + size) : std::min(at, size);
  };
  const int64_t end = place(2, size);
  for (int64_t i = place(1, 0); i < end; ++i) {
    if (compare_equal(runtime, self.items()[static_cast<size_t>(i)], a[0])) return i;
  }
  if (self.is(Kind::tuple)) fail(ErrorCode::invalid_argument, "tuple.index(x): x not in tuple");
  fail(ErrorCode::invalid_argument, "{} is not in list", represent(runtime, a[0]));
}

Value is_integer(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("is_integer", arguments, {});
  return std::isfinite(self.real()) && std::trunc(self.real()) == self.real();
}

constexpr Method dict_table[] = {
    {"copy", copy},
    {"get", get},
    {"items", view<View::Part::items>},
    {"keys", view<View::Part::keys>},
    {"values", view<View::Part::values>},
};
constexpr Method sequence_table[] = {{"copy", copy}, {"count", count}, {"index", index}};
constexpr Method real_table[] = {{"is_integer", is_integer}};

const Method* find(std::span<const Method> table, std::string_view name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Method& m) { return m.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const Method* find_dict_method(std::string_view name) {
  return find(dict_table, name);
}
const Method* find_sequence_method(std::string_view name) {
  return find(sequence_table, name);
}
const Method* find_real_method(std::string_view name) {
  return find(real_table, name);
}

}  // namespace cairn::jinja
