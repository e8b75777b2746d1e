#include "grammar/schema.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/expect_error.hpp"
#include "base/utf8.hpp"

namespace cairn::grammar {
namespace {

using Json = nlohmann::ordered_json;
using cairn::testing::expect_error;

Json checked(const std::string& schema) {
  return checked_schema(std::string_view(schema));
}

void expect_refused(const std::string& schema, const std::string& why) {
  SCOPED_TRACE(schema);
  expect_error(ErrorCode::invalid_argument, why, [&] { checked_schema(std::string_view(schema)); });
}

TEST(Schema, WhatIsEnforcedStays) {
  EXPECT_EQ(checked(R"({"type": "object", "title": "T", "x-order": 1, "required": ["a"],
                        "properties": {"a": {"type": "integer", "minimum": 1, "description": "d"}}})"),
            Json::parse(R"({"type": "object", "required": ["a"],
                            "properties": {"a": {"type": "integer", "minimum": 1}},
                            "additionalProperties": false})"));
}

TEST(Schema, KeywordsThatCannotBeEnforcedAreNamedWithTheirPlace) {
  for (const char* keyword :
       {"not", "if", "then", "else", "dependentRequired", "dependentSchemas", "contains", "minContains",
        "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "madeUp"}) {
    expect_refused(fmt::format(R"({{"properties": {{"a/b": {{"type": "object", "{}": {{}}}}}}}})", keyword),
                   fmt::format("the schema, at /properties/a~1b: '{}' cannot be enforced", keyword));
  }
  expect_refused(R"({"type": "array", "uniqueItems": true})", "'uniqueItems' cannot be enforced");
  EXPECT_EQ(checked(R"({"type": "array", "uniqueItems": false})")["items"], true);
  expect_refused(R"({"type": "string", "format": "iri"})", "the format \"iri\" cannot be enforced");
  expect_refused(R"({"type": "string", "pattern": "a", "maxLength": 3})", "'maxLength' beside 'pattern'");
  expect_refused(R"({"anyOf": [{"type": "string"}], "minLength": 3})", "'minLength' beside 'anyOf'");
  expect_refused(R"({"allOf": [{"type": "string"}, {"minLength": 3}]})", "'allOf' of several schemas");
  expect_refused(R"({"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": {}}})", "'minLength' beside '$ref'");
  expect_refused(R"({"patternProperties": {"^a": {}}, "properties": {"b": {}}})", "beside other names");
  expect_refused(R"({"minimum": 3, "minLength": 3})", "its 'type' is missing");
}

TEST(Schema, WorkIsBounded) {
  std::string values = "1", names = "\"n\"";
  for (int i = 0; i < 5000; ++i) values += ", 1", names += ", \"n" + std::to_string(i) + "\"";
  expect_refused("{\"oneOf\": [{\"enum\": [" + values + "]}, {\"enum\": [2]}]}",
                 "more than 4096 schemas, values");
  expect_refused("{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\"}, \"required\": [" +
                     names + "]}",
                 "more than 4096 schemas, values and required names");
  expect_refused("{\"title\": \"" + std::string(1 << 18, 'x') + "\"}", "at most 262144 are taken");
  expect_refused(R"({"maximum": 1e999})", "the schema is no JSON: ");
  expect_refused("{\"properties\": {\"a\\nb\": {\"not\": 1, \"type\": \"string\"}}}",
                 "at /properties/a\\nb: 'not'");
  // Cut between characters.
  const Error error = cairn::testing::error_of([] {
    std::string type = "x";
    for (int i = 0; i < 40; ++i) type += "\u00e9";
    checked_schema(std::string_view("{\"type\": \"" + type + "\"}"));
  });
  EXPECT_TRUE(is_utf8(error.what())) << error.what();
}

TEST(Schema, KeywordsOfAnotherTypeSayNothing) {
  EXPECT_EQ(checked(R"({"type": "string", "minimum": 3, "items": {"not": {}}})"),
            Json::parse(R"({"type": "string"})"));
  EXPECT_EQ(checked(R"({"minLength": 3})"), Json::parse(R"({"type": "string", "minLength": 3})"));
}

TEST(Schema, ValuesAreThoseOfTheirType) {
  EXPECT_EQ(checked(R"({"type": ["string", "null"], "enum": ["a", 1, null]})"),
            Json::parse(R"({"enum": ["a", null]})"));
  EXPECT_EQ(checked(R"({"type": "integer", "const": 2.0})"), Json::parse(R"({"enum": [2.0]})"));
  expect_refused(R"({"type": "integer", "enum": ["a"]})", "no value of 'enum' has its type");
  expect_refused(R"({"const": 1, "minimum": 3})", "'minimum' beside 'const'");
  expect_refused(R"({"enum": []})", "no value of 'enum'");
}

TEST(Schema, ReferencesAreFollowed) {
  const Json list = checked(R"({"$ref": "#/definitions/a~1%62", "definitions":
      {"a/b": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}}})");
  EXPECT_EQ(list["$ref"], "#/$defs/r0");
  EXPECT_EQ(list["$defs"]["r0"]["properties"]["next"]["anyOf"][0]["$ref"], "#/$defs/r1");
  EXPECT_EQ(list["$defs"]["r1"], Json::parse(R"({"$ref": "#/$defs/r0"})"));
}

TEST(Schema, ReferencesThatLeadNowhereAreNamed) {
  expect_refused(R"({"$ref": "#/$defs/none"})", "there is no #/$defs/none in it");
  expect_refused(R"({"$ref": "other.json"})", "only to a place in the schema itself");
  expect_refused(R"({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "not": {}}}})",
                 "at /$defs/a: 'not'");
}

TEST(Schema, CasesOfOneOfMustExcludeEachOther) {
  EXPECT_EQ(
      checked(R"({"oneOf": [{"type": "string"}, {"type": ["integer", "null"]}, {"enum": [true]}]})")["anyOf"]
          .size(),
      3u);
  const Json told = checked(R"({"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
    "discriminator": {"propertyName": "kind"}, "$defs": {
      "cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
      "dog": {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]}}})");
  EXPECT_EQ(told["anyOf"][1]["$ref"], "#/$defs/r1");
  EXPECT_EQ(told["$defs"]["r1"]["properties"]["kind"]["enum"][0], "dog");
  for (const char* overlap :
       {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})",
        R"({"oneOf": [{"type": "integer"}, {"enum": [1]}]})", R"({"oneOf": [{}, {"type": "null"}]})",
        R"({"oneOf": [{"type": "object"}, {"type": "object", "required": ["a"]}]})"})
    expect_refused(overlap, "'oneOf' whose cases might both hold");
}

TEST(Schema, CasesOfOneOfMayRecur) {
  // A list: the root is a case within itself.
  EXPECT_EQ(
      checked(R"({"type": "object", "properties": {"next": {"oneOf": [{"type": "null"}, {"$ref": "#"}]}},
                        "required": ["next"]})")["properties"]["next"]["anyOf"][1]["$ref"],
      "#/$defs/r0");
  // An expression, whose cases are told apart by a value that stands elsewhere, and are cases in part.
  const std::string expression = R"("$defs": {
      "node": {"oneOf": [{"$ref": "#/$defs/number"}, {"$ref": "#/$defs/operation"}]},
      "number": {"type": "number"},
      "operation": {"oneOf": [{"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/negation"}]},
      "plus": {"const": "plus"},
      "sum": {"type": "object", "required": ["op", "of"], "properties": {
          "op": {"$ref": "#/$defs/plus"}, "of": {"type": "array", "items": {"$ref": "#/$defs/node"}}}},
      "negation": {"type": "object", "required": ["op", "of"], "properties": {
          "op": {"const": "minus"}, "of": {"$ref": "#/$defs/node"}}}})";
  checked(R"({"$ref": "#/$defs/node", )" + expression + "}");
  checked(R"({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/node"}], )" + expression + "}");
  const char* overlap = "'oneOf' whose cases might both hold";
  expect_refused(R"({"oneOf": [{"type": "integer"}, {"$ref": "#/$defs/node"}], )" + expression + "}",
                 overlap);
  expect_refused(R"({"oneOf": [{"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/operation"}], )" + expression + "}",
                 overlap);
  // Those that lead to nothing but each other.
  expect_refused(R"({"oneOf": [{"type": "null"}, {"$ref": "#"}]})", overlap);
  expect_refused(
      R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})",
      "no finite value");
  // Twice as many paths at each level.
  std::string doubling = R"("c60": {"type": "null"})";
  for (int i = 0; i < 60; ++i) {
    const std::string name = std::to_string(i),
                      next = "{\"$ref\": \"#/$defs/c" + std::to_string(i + 1) + "\"}";
    doubling += ", \"c" + name + "\": {\"anyOf\": [" + next + ", " + next + "]}";
  }
  expect_refused(R"({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/c0"}], "$defs": {)" + doubling + "}}",
                 overlap);
}

// Each of these could be told apart, with work that grows faster than the schema.
TEST(Schema, ComparingCasesIsBoundedInAll) {
  const char* overlap = "'oneOf' whose cases might both hold";
  std::string levels = R"("c14": {"type": "null"})";
  for (int i = 0; i < 14; ++i) {
    const std::string next = "{\"$ref\": \"#/$defs/c" + std::to_string(i + 1) + "\"}";
    levels += ", \"c" + std::to_string(i) + "\": {\"anyOf\": [" + next + ", " + next + "]}";
  }
  const std::string one = R"({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/c0"}]})";
  const auto array = [&](const std::string& items) {
    return R"({"type": "array", "prefixItems": [)" + items + R"(], "$defs": {)" + levels + "}}";
  };
  checked(array(one + ", " + one));
  expect_refused(array(one + ", " + one + ", " + one), overlap);

  // Cases whose every property may have a value in common, but for the last.
  const auto cases = [](int properties, int values) {
    Json few = Json::array(), other = Json::array();
    for (int i = 0; i < values; ++i) {
      few.push_back(i);
      other.push_back(values - 1 + i);
    }
    const auto object = [&](const char* reference, const char* kind) {
      Json made = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
      for (int i = 0; i < properties; ++i) {
        made["properties"]["p" + std::to_string(i)] = {{"$ref", reference}};
        made["required"].push_back("p" + std::to_string(i));
      }
      made["properties"]["kind"] = {{"const", kind}};
      made["required"].push_back("kind");
      return made;
    };
    return Json{{"oneOf", Json::array({object("#/$defs/few", "a"), object("#/$defs/other", "b")})},
                {"$defs", {{"few", {{"enum", few}}}, {"other", {{"enum", other}}}}}}
        .dump();
  };
  checked(cases(3, 500));
  expect_refused(cases(300, 500), overlap);
}

TEST(Schema, WhatNoFiniteValueMeetsIsRefused) {
  expect_refused(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})",
                 "no finite value");
  expect_refused(R"({"type": "array", "items": {"$ref": "#"}, "minItems": 1})", "no finite value");
  expect_refused(R"({"anyOf": [false, {"$ref": "#"}]})", "no finite value");
  expect_refused("false", "no finite value");
  expect_refused(R"({"required": ["a"], "additionalProperties": false})", "'a' is required, but no property");
  checked(
      R"({"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "required": ["a"]})");
  checked(R"({"type": "array", "items": {"$ref": "#"}})");
}

TEST(Schema, RequiredNamesWithoutASchemaGetTheOthers) {
  EXPECT_EQ(checked(R"({"required": ["a"], "additionalProperties": {"type": "null"}})")["properties"]["a"],
            Json::parse(R"({"type": "null"})"));
}

TEST(Schema, HugeAndDeepOnesAreRefused) {
  std::string deep = R"({"type": "null"})";
  for (int i = 0; i < 70; ++i) deep = R"({"type": "array", "items": )" + deep + "}";
  expect_refused(deep, "nested deeper than 64 levels");
  std::string deeper;
  for (int i = 0; i < 100000; ++i) deeper += R"({"a":)";
  expect_refused(deeper, "nested deeper than 64 levels");
  std::string wide = "true";
  for (int i = 0; i < 5000; ++i) wide += ", true";
  expect_refused(R"({"anyOf": [)" + wide + "]}", "more than 4096 schemas");
  expect_refused(R"({"type": "string", "minLength": 1000000000})", "'minLength' is above 4096");
  for (const char* pattern : {"a{1,1000000000}", "((a{9}b){9}c){9}", "[^a]{300}[]a]{300}"}) {
    expect_refused(Json{{"type", "string"}, {"pattern", pattern}}.dump(), "more than 512 characters");
    expect_refused(Json{{"patternProperties", {{pattern, true}}}}.dump(), "more than 512 characters");
  }
  checked(R"({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}(T[0-9]{2}(:[0-9]{2}){2}(\\.\\d{3})?)?$"})");
  // Cases that lead to each other: without end if they were written out.
  expect_refused(R"({"$ref": "#/$defs/a", "$defs": {
      "a": {"oneOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
      "b": {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}})",
                 "'oneOf' whose cases");
}

TEST(Schema, NonsenseIsNamed) {
  expect_refused("{", "the schema is no JSON");
  expect_refused("[]", "an object was expected");
  expect_refused(R"({"type": "text"})", "there is no type \"text\"");
  expect_refused(R"({"type": 3})", "there is no type 3");
  expect_refused(R"({"properties": []})", "'properties' is no object");
  expect_refused(R"({"properties": {"a": 3}})", "the schema, at /properties/a: an object was expected");
  expect_refused(R"({"required": "a"})", "'required' is no array");
  expect_refused(R"({"required": [1]})", "'required' is no array of strings");
  expect_refused(R"({"type": "string", "minLength": -1})", "'minLength' is no whole number");
  expect_refused(R"({"type": "integer", "minimum": "3"})", "'minimum' is no number");
  expect_refused(R"({"type": "string", "pattern": 3})", "'pattern' is no string");
  expect_refused(R"({"anyOf": {}})", "'anyOf' is no array of schemas");
  expect_refused(R"({"enum": 3})", "'enum' is no array");
}

}  // namespace
}  // namespace cairn::grammar
