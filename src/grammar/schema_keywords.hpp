// The keywords of JSON schemas that are enforced, and how others are refused.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::grammar {

// "integer" is a "number".
std::string family(const std::string& type);
// By families of types.
const std::map<std::string, std::set<std::string>>& keywords_of_types();
bool is_annotation(const std::string& key);  // says nothing of a value
// What stands for a format; null: it is not enforced.
const std::string* pattern_of_format(const std::string& name);

// The types that `type` names. Error as refuse().
std::vector<std::string> types_of(const nlohmann::ordered_json& schema, const std::string& at);

// Errors invalid_argument that name the place, a JSON pointer.
[[noreturn]] void refuse(const std::string& at, const std::string& why);
[[noreturn]] void cannot(const std::string& at, const std::string& keyword, std::string_view beside);
// keyword: one that decides alone; what else stands there, but annotations and `but`, xgrammar does not look
// at.
void stands_alone(const nlohmann::ordered_json& schema, const std::string& keyword, const std::string& at,
                  const std::set<std::string>& but = {});

}  // namespace cairn::grammar
