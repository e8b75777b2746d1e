#pragma once

#include <string>
#include <string_view>

#include "jinja/value.hpp"

namespace cairn::jinja {

class Runtime;

std::string to_text(Runtime& runtime, const Value& value);    // str(x)
std::string represent(Runtime& runtime, const Value& value);  // repr(x)
std::string represent_text(std::string_view text);            // repr of a str: quotes and escapes
std::string represent_real(double number);                    // repr of a float: 1.0, 1e+16, inf

}  // namespace cairn::jinja
