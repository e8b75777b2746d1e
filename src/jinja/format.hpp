#pragma once

#include <string>
#include <string_view>

#include "jinja/object.hpp"

namespace cairn::jinja {

std::string format_percent(Runtime& runtime, std::string_view format,
                           const Value& values);  // format % values
std::string format_braces(Runtime& runtime, std::string_view format,
                          const Arguments& arguments);  // str.format
std::string format_value(Runtime& runtime, const Value& value,
                         std::string_view specification);  // format(x, spec)

// %-style conversion of a real: type one of e E f F g G; `precision` digits (at most 400).
std::string format_real(double number, char type, int precision, bool alternate = false);

}  // namespace cairn::jinja
