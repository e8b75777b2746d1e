#include <algorithm>
#include <array>

#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {
namespace {

template <size_t N>
bool one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 8> list_changers = {"append", "clear",  "extend",  "insert",
                                                           "pop",    "remove", "reverse", "sort"};
constexpr std::array<std::string_view, 5> dict_changers = {"clear", "pop", "popitem", "setdefault", "update"};
// Attributes that Python's types have and templates have no use for.
constexpr std::array<std::string_view, 3> text_rare = {"encode", "maketrans", "translate"};
constexpr std::array<std::string_view, 1> dict_rare = {"fromkeys"};
constexpr std::array<std::string_view, 12> number_rare = {
    "real",      "imag",     "conjugate",  "numerator",        "denominator", "bit_length",
    "bit_count", "to_bytes", "from_bytes", "as_integer_ratio", "hex",         "fromhex"};

bool rare(const Value& object, std::string_view name) {
  if (object.is_text()) return one_of(text_rare, name);
  if (object.is(Kind::dict)) return one_of(dict_rare, name);
  return object.is_number() && one_of(number_rare, name);
}

}  // namespace

std::optional<Value> find_member(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.is(Kind::object)) {
    if (auto value = object.object().attribute(runtime, name)) return value;
    return std::nullopt;
  }
  const bool changes = (object.is(Kind::list) && one_of(list_changers, name)) ||
                       (object.is(Kind::dict) && one_of(dict_changers, name));
  if (changes || (name.starts_with("__") && name.ends_with("__") && name.size() > 4)) {
    return Value::missing(fmt::format("access to attribute {} of '{}' object is unsafe.",
                                      represent_text(name), type_name(object)));
  }
  if (rare(object, name)) {
    fail(ErrorCode::unsupported, "the attribute '{}' of '{}'", name, type_name(object));
  }
  const Method* method = nullptr;
  if (object.is_text()) method = find_text_method(name);
  if (object.is(Kind::dict)) method = find_dict_method(name);
  if (object.is_sequence() && !(object.is(Kind::tuple) && name == "copy"))
    method = find_sequence_method(name);
  if (object.is(Kind::real)) method = find_real_method(name);
  if (!method) return std::nullopt;
  return Value(std::make_shared<Function>(method->name, object, method->builtin));
}

}  // namespace cairn::jinja
