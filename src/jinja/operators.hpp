#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/object.hpp"
#include "jinja/value.hpp"

// Python's operators on values. Each fails (Error invalid_argument) where Python raises, with Python's words.
namespace cairn::jinja {

enum class Arithmetic { add, subtract, multiply, divide, floor_divide, modulo, power };
enum class Order { less, less_equal, greater, greater_equal };

Value arithmetic(Runtime& runtime, Arithmetic op, const Value& a, const Value& b);
Value negate(const Value& value);
Value plus(const Value& value);

bool ordered(Runtime& runtime, Order op, const Value& a, const Value& b);    // a < b, ...
bool compare_equal(Runtime& runtime, const Value& a, const Value& b);        // equal(), with its cost counted
bool contains(Runtime& runtime, const Value& container, const Value& item);  // item in container

size_t length(const Value& value);  // len(x)
std::shared_ptr<Iterator> iterate(Runtime& runtime, const Value& value);
std::vector<Value> collect(Runtime& runtime, const Value& value);  // list(x)
std::shared_ptr<Iterator> reversed(Runtime& runtime, const Value& value);

Value get_item(Runtime& runtime, const Value& object, const Value& index);          // object[index]
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);  // object.name
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step);
Value call(Runtime& runtime, const Value& callee, Arguments& arguments);

// The method or attribute `name` of Python's type, bound; nullopt if the type has none. Methods that would
// change a list or a dict, and private ones, come back undefined, as the sandbox has it.
std::optional<Value> find_member(Runtime& runtime, const Value& object, std::string_view name);

}  // namespace cairn::jinja
