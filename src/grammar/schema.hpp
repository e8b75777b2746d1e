#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cairn::grammar {

// A JSON schema as xgrammar takes it: without annotations, and said in ways that it enforces. It may ask for
// more than the original (an order of properties, no properties but the named ones), never for less.
// Errors: invalid_argument names the place and the keyword: no JSON, too long, nested too deeply, what cannot
// be enforced, what no value can meet.
nlohmann::ordered_json checked_schema(std::string_view text);
nlohmann::ordered_json checked_schema(const nlohmann::ordered_json& schema);

}  // namespace cairn::grammar
