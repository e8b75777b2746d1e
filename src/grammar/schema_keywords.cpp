#include "grammar/schema_keywords.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "grammar/schema_values.hpp"

namespace cairn::grammar {
namespace {

using Json = nlohmann::ordered_json;

// They say nothing of a value. `id` is draft 4's; `discriminator` and `nullable` are OpenAPI's: the one
// repeats what the cases say, without the other an answer is one that both readings allow.
const std::set<std::string> kAnnotations = {
    "title",   "default",  "description", "examples", "example", "deprecated",  "readOnly",      "writeOnly",
    "$schema", "$comment", "$id",         "id",       "$defs",   "definitions", "discriminator", "nullable"};

const std::map<std::string, std::set<std::string>> kOfType = {
    {"string", {"minLength", "maxLength", "pattern", "format"}},
    {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
    {"array", {"items", "prefixItems", "minItems", "maxItems"}},
    {"object",
     {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
      "maxProperties"}},
    {"boolean", {}},
    {"null", {}}};

const std::set<std::string> kFormats = {"date",     "time", "date-time", "duration", "email",
                                        "hostname", "ipv4", "ipv6",      "uuid",     "uri"};

}  // namespace

std::string family(const std::string& type) {
  return type == "integer" ? "number" : type;
}

const std::map<std::string, std::set<std::string>>& keywords_of_types() {
  return kOfType;
}

bool is_annotation(const std::string& key) {
  return kAnnotations.contains(key) || key.starts_with("x-");
}

bool is_format(const std::string& name) {
  return kFormats.contains(name);
}

void refuse(const std::string& at, const std::string& why) {
  fail(ErrorCode::invalid_argument, "the schema, at {}: {}", at.empty() ? "its root" : at, why);
}

void cannot(const std::string& at, const std::string& keyword, std::string_view beside) {
  refuse(at, fmt::format("'{}'{} cannot be enforced", keyword, beside));
}

std::vector<std::string> types_of(const Json& schema, const std::string& at) {
  std::vector<std::string> types;
  const Json& given = schema["type"];
  for (const Json& type : given.is_array() ? given : Json::array({given})) {
    if (!type.is_string() || !kOfType.contains(family(type.get<std::string>())))
      refuse(at, fmt::format("there is no type {}", printed(type)));
    types.push_back(type.get<std::string>());
  }
  if (types.empty()) refuse(at, "'type' is empty");
  return types;
}

void stands_alone(const Json& schema, const std::string& keyword, const std::string& at,
                  const std::set<std::string>& but) {
  for (const auto& [key, value] : schema.items()) {
    if (key != keyword && !is_annotation(key) && !but.contains(key))
      cannot(at, key, fmt::format(" beside '{}'", keyword));
  }
}

}  // namespace cairn::grammar
