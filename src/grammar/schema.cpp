#include "grammar/schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "grammar/expression_size.hpp"
#include "grammar/kind.hpp"
#include "grammar/schema_keywords.hpp"
#include "grammar/schema_values.hpp"

namespace cairn::grammar {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDeepest = 64;             // nested objects and arrays of a schema
constexpr size_t kMostSchemas = 4096;    // in all, values and required names among them
constexpr size_t kMostPlaces = 512;      // of all patterns together: making them takes the square
constexpr int64_t kMostRepeated = 4096;  // minLength and its like: what is compiled grows with them

class Checker {
 public:
  explicit Checker(const Json& root) : root_(root) {}

  Json check_root() {
    Json out = check(root_, "", 0);
    // What is referred to is checked once, and kept where the reference looks for it.
    for (size_t done = 0; done < pending_.size(); ++done) {
      const std::string pointer = pending_[done];
      const Json& target = target_of(pointer, "#" + pointer);
      out["$defs"][fmt::format("r{}", done)] = check(target, pointer, 0);
    }
    // What references stand for is known by now.
    const Json none = Json::object();
    if (const auto* at = find_overlap(exclusive_, out.contains("$defs") ? out["$defs"] : none))
      refuse(*at, "'oneOf' whose cases might both hold cannot be enforced; 'anyOf' can");
    return out;
  }

 private:
  // What is referred to is followed once: by a name under $defs that stands for it.
  Json reference_to(const std::string& pointer) {
    const auto found = std::find(pending_.begin(), pending_.end(), pointer);
    const auto index = found - pending_.begin();
    if (found == pending_.end()) pending_.push_back(pointer);
    return {{"$ref", fmt::format("#/$defs/r{}", index)}};
  }

  const Json& target_of(const std::string& pointer, const std::string& reference) const {
    try {
      return root_.at(Json::json_pointer(pointer));
    } catch (const Json::exception&) {
      fail(ErrorCode::invalid_argument, "the schema: there is no {} in it", reference);
    }
  }

  std::string pointer_of(const Json& reference, const std::string& at) const {
    if (!reference.is_string()) refuse(at, "'$ref' is no string");
    const std::string text = reference.get<std::string>();
    if (text == "#") return "";
    if (!text.starts_with("#/"))
      refuse(at, fmt::format("'$ref' to {}: only to a place in the schema itself", text));
    const std::string pointer = percent_decoded(text.substr(1));
    target_of(pointer, text);
    return pointer;
  }

  Json check_reference(const Json& schema, const std::string& at) {
    return reference_to(pointer_of(schema["$ref"], at));
  }

  Json check_values(const Json& schema, const std::string& keyword, const std::string& at) {
    stands_alone(schema, keyword, at, {"type"});
    Json values = keyword == "const" ? Json::array({schema["const"]}) : schema["enum"];
    if (!values.is_array()) refuse(at, "'enum' is no array");
    count(values.size(), at);
    if (schema.contains("type")) {
      const auto types = types_of(schema, at);
      Json kept = Json::array();
      for (const Json& value : values) {
        if (std::any_of(types.begin(), types.end(), [&](const auto& type) { return has_type(value, type); }))
          kept.push_back(value);
      }
      values = std::move(kept);
    }
    if (values.empty()) refuse(at, fmt::format("no value of '{}' has its type", keyword));
    return {{"enum", std::move(values)}};
  }

  Json check_cases(const Json& schema, const std::string& keyword, const std::string& at, int depth) {
    stands_alone(schema, keyword, at);
    const Json& cases = schema[keyword];
    if (!cases.is_array() || cases.empty()) refuse(at, fmt::format("'{}' is no array of schemas", keyword));
    if (keyword == "allOf") {
      if (cases.size() > 1) cannot(at, keyword, " of several schemas");
      return check(cases[0], at + "/allOf/0", depth + 1);
    }
    Json out = Json::array();
    for (size_t i = 0; i < cases.size(); ++i)
      out.push_back(check(cases[i], fmt::format("{}/{}/{}", at, keyword, i), depth + 1));
    if (keyword == "oneOf") exclusive_.push_back({at, out});
    return {{"anyOf", std::move(out)}};
  }

  Json check_typed(const Json& schema, const std::string& at, int depth) {
    std::vector<std::string> types;
    if (schema.contains("type")) {
      types = types_of(schema, at);
    } else {
      for (const auto& [type, keywords] : keywords_of_types()) {
        if (std::any_of(keywords.begin(), keywords.end(),
                        [&](const auto& key) { return schema.contains(key); }))
          types.push_back(type);
      }
      if (types.size() > 1) refuse(at, "its 'type' is missing, and its keywords are of several");
    }
    Json out = Json::object();
    if (types.size() == 1) out["type"] = types[0];
    if (types.size() > 1) out["type"] = types;
    for (const auto& [key, value] : schema.items()) {
      if (key == "type" || is_annotation(key)) continue;
      const auto owner =
          std::find_if(keywords_of_types().begin(), keywords_of_types().end(),
                       [&keyword = key](const auto& type) { return type.second.contains(keyword); });
      if (owner == keywords_of_types().end()) {
        if (value == false && key == "uniqueItems") continue;
        cannot(at, key, "");
      }
      const bool applies = std::any_of(types.begin(), types.end(),
                                       [&](const auto& type) { return family(type) == owner->first; });
      if (applies) out[key] = value;
    }
    check_numbers(out, at);
    const auto has = [&](const char* type) {
      return std::find(types.begin(), types.end(), type) != types.end();
    };
    if (has("string")) check_string(out, at);
    if (has("array")) check_array(out, at, depth);
    if (has("object")) check_object(out, at, depth);
    return out;
  }

  static void check_numbers(const Json& out, const std::string& at) {
    for (const char* key :
         {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}) {
      if (!out.contains(key)) continue;
      if (!out[key].is_number_integer() || out[key] < 0)
        refuse(at, fmt::format("'{}' is no whole number of 0 or more", key));
      if (out[key] > kMostRepeated) refuse(at, fmt::format("'{}' is above {}", key, kMostRepeated));
    }
    for (const char* key : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
      if (out.contains(key) && !out[key].is_number()) refuse(at, fmt::format("'{}' is no number", key));
    }
  }

  void check_pattern(const std::string& expression, const std::string& at) {
    const ExpressionSize size = size_of_pattern(expression);
    const auto check = [&](size_t sum, size_t most, const char* of) {
      if (sum <= most) return;
      refuse(at, fmt::format("with its repetitions written out, the patterns so far have more than {} {}",
                             most, of));
    };
    check(places_ += size.places, kMostPlaces, "characters");
    check(choices_ += size.choices, kMostChoices, "times where something may come or not");
  }

  void check_string(Json& out, const std::string& at) {
    for (const char* key : {"pattern", "format"}) {
      if (!out.contains(key)) continue;
      if (!out[key].is_string()) refuse(at, fmt::format("'{}' is no string", key));
      for (const char* other : {"minLength", "maxLength"}) {
        if (out.contains(other)) cannot(at, other, fmt::format(" beside '{}'", key));
      }
    }
    if (out.contains("pattern") && out.contains("format")) cannot(at, "format", " beside 'pattern'");
    if (out.contains("pattern")) check_pattern(out["pattern"].get<std::string>(), at);
    if (!out.contains("format")) return;
    const std::string* pattern = pattern_of_format(out["format"].get<std::string>());
    if (pattern == nullptr)
      refuse(at, fmt::format("the format {} cannot be enforced", printed(out["format"])));
    out.erase("format");
    out["pattern"] = *pattern;
  }

  void check_array(Json& out, const std::string& at, int depth) {
    if (out.contains("prefixItems")) {
      if (!out["prefixItems"].is_array()) refuse(at, "'prefixItems' is no array");
      for (size_t i = 0; i < out["prefixItems"].size(); ++i) {
        Json& item = out["prefixItems"][i];
        if (item == true) item = Json::object();
        item = check(item, fmt::format("{}/prefixItems/{}", at, i), depth + 1);
      }
    }
    if (!out.contains("items")) {
      out["items"] = Json(!out.contains("prefixItems"));  // nothing more behind those that are named
    } else {
      out["items"] = check(out["items"], at + "/items", depth + 1);
    }
  }

  void check_object(Json& out, const std::string& at, int depth) {
    for (const char* key : {"properties", "patternProperties"}) {
      if (!out.contains(key)) continue;
      if (!out[key].is_object()) refuse(at, fmt::format("'{}' is no object", key));
      for (auto& [name, property] : out[key].items()) {
        if (std::string_view(key) == "patternProperties") check_pattern(name, at);
        property = check(property, (Json::json_pointer(at) / key / name).to_string(), depth + 1);
      }
    }
    for (const char* key : {"additionalProperties", "propertyNames"}) {
      if (out.contains(key)) out[key] = check(out[key], fmt::format("{}/{}", at, key), depth + 1);
    }
    const bool named = out.contains("properties") && !out["properties"].empty();
    // A name that has to obey two rules is held to one of them alone.
    if (out.contains("patternProperties") && (named || out["patternProperties"].size() > 1))
      cannot(at, "patternProperties", " beside other names");
    if (out.contains("propertyNames") && (named || out.contains("patternProperties")))
      cannot(at, "propertyNames", " beside other names");
    if (out.contains("required")) require(out, at);
    const bool open = !out.contains("properties") && !out.contains("patternProperties");
    if (!out.contains("additionalProperties")) out["additionalProperties"] = open;
    // The same name twice would count twice.
    if (!named && out.value("minProperties", int64_t{0}) > 1) cannot(at, "minProperties", " above 1");
    if (named && out["additionalProperties"] != false &&
        out.value("minProperties", int64_t{0}) > static_cast<int64_t>(out["properties"].size()))
      cannot(at, "minProperties", " above the number of its named properties");
    if (named && out.contains("minProperties")) out["additionalProperties"] = false;
  }

  // Required names without a schema of their own get that of the others.
  void require(Json& out, const std::string& at) {
    if (!out["required"].is_array()) refuse(at, "'required' is no array");
    const Json others = out.value("additionalProperties", Json(true));
    // Each may be a copy, as much work as it is long.
    count(out["required"].size() * (1 + others.dump().size() / 64), at);
    const Json names = out["required"];  // which new members of `out` would move
    for (const Json& name : names) {
      if (!name.is_string()) refuse(at, "'required' is no array of strings");
      const std::string key = name.get<std::string>();
      if (out.contains("properties") && out["properties"].contains(key)) continue;
      if (out.contains("patternProperties") || out.contains("propertyNames"))
        cannot(at, "required", " beside rules of names");
      if (others == false) refuse(at, fmt::format("'{}' is required, but no property", key));
      out["properties"][key] = others == true ? Json::object() : others;
    }
  }

  void count(size_t more, const std::string& at) {
    checked_ += more;
    if (checked_ > kMostSchemas)
      refuse(at, fmt::format("more than {} schemas, values and required names in all", kMostSchemas));
  }

  Json check(const Json& schema, const std::string& at, int depth) {
    if (depth > kDeepest)
      refuse(at.substr(0, 64) + "…", fmt::format("nested deeper than {} levels", kDeepest));
    count(1, at);
    if (schema.is_boolean()) return schema;
    if (!schema.is_object()) refuse(at, "an object was expected");
    if (schema.contains("$ref")) {
      stands_alone(schema, "$ref", at);
      return check_reference(schema, at);
    }
    for (const char* keyword : {"const", "enum"}) {
      if (schema.contains(keyword)) return check_values(schema, keyword, at);
    }
    for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
      if (schema.contains(keyword)) return check_cases(schema, keyword, at, depth);
    }
    return check_typed(schema, at, depth);
  }

  const Json& root_;
  std::vector<std::string> pending_;                     // pointers that references lead to
  std::vector<std::pair<std::string, Json>> exclusive_;  // places and cases of oneOf's
  size_t checked_ = 0, places_ = 0, choices_ = 0;
};

}  // namespace

Json checked_schema(const Json& schema) {
  Json out = Checker(schema).check_root();
  if (!can_be_met(out)) fail(ErrorCode::invalid_argument, "the schema: no finite value can meet it");
  return out;
}

Json checked_schema(std::string_view text) {
  Json schema;
  try {
    schema = Json::parse(text.begin(), text.end(), [](int depth, Json::parse_event_t, const Json&) {
      if (depth > 4 * kDeepest)
        fail(ErrorCode::invalid_argument, "the schema: nested deeper than {} levels", kDeepest);
      return true;
    });
  } catch (const Json::exception& error) {  // numbers beyond a double among them
    const std::string_view why = error.what();
    fail(ErrorCode::invalid_argument, "the schema is no JSON: {}", why.substr(why.find("] ") + 2));
  }
  if (text.size() > kMostBytes)
    fail(ErrorCode::invalid_argument, "the schema has {} bytes; at most {} are taken", text.size(),
         kMostBytes);
  return checked_schema(schema);
}

}  // namespace cairn::grammar
