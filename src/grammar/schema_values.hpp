#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::grammar {

// Whether a value is of JSON schema's type: 2.0 is an integer too.
bool has_type(const nlohmann::ordered_json& value, std::string_view type);

// Of oneOf's, places and cases: the place of the first of which it is not plain that no value meets two
// cases, by their types, their values, or a required property's values; null: of all it is. References lead
// into `defs`. All are as checked_schema makes them.
const std::string* find_overlap(const std::vector<std::pair<std::string, nlohmann::ordered_json>>& exclusive,
                                const nlohmann::ordered_json& defs);

// Whether some finite value meets a schema as checked_schema makes it: not one that must contain itself.
bool can_be_met(const nlohmann::ordered_json& root);

std::string percent_decoded(std::string_view text);        // of a URI
std::string printed(const nlohmann::ordered_json& value);  // for an error, cut where long

}  // namespace cairn::grammar
