#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "jinja/value.hpp"

namespace cairn::jinja {

class Runtime;

// JSON as Python's json.loads gives it. Strings that are not UTF-8 are mended. Errors: nesting beyond
// limits::depth, integers beyond 64 bits.
Value from_json(const nlohmann::ordered_json& json);

struct JsonStyle {
  bool ascii = false;                 // json.dumps(ensure_ascii=...)
  std::optional<std::string> indent;  // what one level is indented by; everything on one line without it
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};

// json.dumps, the filter tojson of transformers. Error when something is not serialisable.
std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace cairn::jinja
