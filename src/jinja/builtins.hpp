#pragma once

#include <span>
#include <string_view>

#include "jinja/arguments.hpp"
#include "jinja/object.hpp"

// The tables of what templates can call by name.
namespace cairn::jinja {

struct Method {
  std::string_view name;
  Builtin builtin;
};

// Look-ups give nullptr for unknown names.
const Method* find_text_method(std::string_view name);
const Method* find_dict_method(std::string_view name);
const Method* find_sequence_method(std::string_view name);
const Method* find_real_method(std::string_view name);
const Method* find_global(std::string_view name);
const Method* find_filter(std::string_view name);
const Method* find_test(std::string_view name);

// Filters by room; find_filter looks through all of them.
std::span<const Method> text_filters();
std::span<const Method> number_filters();
std::span<const Method> sequence_filters();
std::span<const Method> selection_filters();

// Error when there is no such filter or test, naming it.
Value apply_filter(Runtime& runtime, std::string_view name, const Value& input, const Arguments& arguments);
bool apply_test(Runtime& runtime, std::string_view name, const Value& input, const Arguments& arguments);

// The filters' way to name a part of an item: "a.b.0", or an integer (jinja2.filters.make_attrgetter).
class Path {
 public:
  explicit Path(const Value& attribute);  // None: the item itself
  Value follow(Runtime& runtime, Value item, const Value* otherwise = nullptr) const;

 private:
  std::vector<Value> parts_;
};

Value ignore_case(const Value& value);  // strings in lower case, other values as they are

}  // namespace cairn::jinja
