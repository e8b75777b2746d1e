#include "grammar/schema_keywords.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/printable.hpp"
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

constexpr const char
    *kByte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])",
    *kDay =
        "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12]"
        "[0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))",
    *kTime =
        "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5]"
        "[0-9])",
    *kLabel = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";

// Some of what each format allows, and nothing else: xgrammar's own let zeros lead in ipv4, and days be that
// no month has.
const std::map<std::string, std::string> kFormats = {
    {"date", fmt::format("^{}$", kDay)},
    {"time", fmt::format("^{}$", kTime)},
    {"date-time", fmt::format("^{}T{}$", kDay, kTime)},
    {"duration", "^P([0-9]{1,6}W|[0-9]{1,6}D(T[0-9]{1,6}H)?|T[0-9]{1,6}[HMS])$"},
    {"email",
     fmt::format("^[A-Za-z0-9_+-]{{1,24}}(\\.[A-Za-z0-9_+-]{{1,24}})?@({}\\.){{1,3}}[a-z]{{2,8}}$", kLabel)},
    {"hostname", fmt::format("^{0}(\\.{0}){{0,3}}$", kLabel)},
    {"ipv4", fmt::format("^({0}\\.){{3}}{0}$", kByte)},
    {"ipv6", "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"uri", fmt::format("^https?://({}\\.){{1,3}}[a-z]{{2,8}}(/[A-Za-z0-9._~-]{{0,32}}){{0,3}}$", kLabel)}};

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

const std::string* pattern_of_format(const std::string& name) {
  const auto found = kFormats.find(name);
  return found == kFormats.end() ? nullptr : &found->second;
}

void refuse(const std::string& at, const std::string& why) {
  fail(ErrorCode::invalid_argument, "the schema, at {}: {}", at.empty() ? "its root" : printable(at), why);
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
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type.get<std::string>());
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
