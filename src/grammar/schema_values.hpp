#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cairn::grammar {

// Whether a value is of JSON schema's type: 2.0 is an integer too.
bool has_type(const nlohmann::ordered_json& value, std::string_view type);

// Whether it is plain that no value meets two of these schemas: by their types, their values, or a required
// property's values; references lead into `defs`. All are as checked_schema makes them.
bool exclude_each_other(const nlohmann::ordered_json& cases, const nlohmann::ordered_json& defs);

// Whether some finite value meets a schema as checked_schema makes it: not one that must contain itself.
bool can_be_met(const nlohmann::ordered_json& root);

std::string percent_decoded(std::string_view text);        // of a URI
std::string printed(const nlohmann::ordered_json& value);  // for an error, cut where long

}  // namespace cairn::grammar
