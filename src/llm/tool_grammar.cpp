// What tools and formats ask of an answer, as a grammar.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "grammar/compiler.hpp"
#include "grammar/structure.hpp"
#include "llm/tools.hpp"

namespace cairn::llm {
namespace {

using Json = nlohmann::ordered_json;
using grammar::Kind;
using grammar::Structure;
using text::Tool;
using Shape = text::ToolFormat::Shape;

// A schema within another one at `place`: its references begin there.
Json moved(Json schema, const std::string& place) {
  if (schema.is_array()) {
    for (Json& one : schema) one = moved(one, place);
  }
  if (!schema.is_object()) return schema;
  for (auto& [key, value] : schema.items()) {
    if (key == "$ref" && value.is_string() && value.get_ref<const std::string&>().starts_with("#")) {
      value = "#" + place + value.get<std::string>().substr(1);
    } else if (key != "const" && key != "enum" && key != "default" && key != "examples") {
      value = moved(value, place);
    }
  }
  return schema;
}

class Calls {
 public:
  Calls(const text::ToolFormat& format, const text::Tokenizer& tokenizer, bool parallel)
      : format_(format), tokenizer_(tokenizer), parallel_(parallel && format.several) {}

  // One call or more, with all that is around them.
  Structure all(const std::vector<Tool>& tools) const {
    if (format_.array) return empty().mark(format_.open).schema(array_of(tools)).mark(format_.close);
    return empty().mark(format_.open + format_.call_open).either({from_first(tools)});
  }

  // Any text; where the mark of a call stands in it, a call follows.
  Structure in_text(const std::vector<Tool>& tools) const {
    const std::string mark = format_.mark();
    if (mark.empty()) {
      fail(ErrorCode::invalid_argument,
           "'strict' cannot be enforced where this model may choose to call: its calls have no mark of their "
           "own; tool_choice \"required\" can be");
    }
    Structure rest = empty().blanks();
    if (format_.array) {
      rest.schema(array_of(tools)).mark(format_.close);
    } else {
      rest.either({from_first(tools)});
    }
    return empty().free_text_with(mark, rest);
  }

 private:
  Structure empty() const { return Structure(tokenizer_); }

  // From behind the first call's call_open.
  Structure from_first(const std::vector<Tool>& tools) const {
    const Structure call = empty().either(calls(tools)).mark(format_.call_close);
    Structure whole = call;
    if (parallel_) whole.any_number(empty().mark(format_.between + format_.call_open).either({call}));
    return whole.mark(format_.close);
  }

  std::vector<Structure> calls(const std::vector<Tool>& tools) const {
    std::vector<Structure> all;
    for (const Tool& tool : tools) all.push_back(one(tool));
    return all;
  }

  Structure one(const Tool& tool) const {
    switch (format_.shape) {
      case Shape::object:
        return empty().schema(object_of(tool, ""));
      case Shape::named:
        return empty().mark(tool.name + format_.after_name).schema(tool.parameters);
      case Shape::tagged:
        break;
    }
    Structure call = empty().mark(tool.name + format_.after_name);
    const Json properties = tool.parameters.value("properties", Json::object()),
               required = tool.parameters.value("required", Json::array());
    for (const auto& [name, schema] : properties.items()) {
      const Structure argument = tagged(name, schema, tool.parameters);
      if (std::find(required.begin(), required.end(), name) != required.end()) {
        call.either({argument});
      } else {
        call.optional(argument);
      }
    }
    return call;
  }

  Structure tagged(const std::string& name, const Json& property, const Json& all) const {
    Structure argument = empty().mark(format_.key_open + name + format_.key_close);
    const bool text = property.is_object() && property.value("type", Json()) == "string";
    if (!text) {
      Json schema = property;
      for (const char* place : {"$defs", "definitions"}) {
        if (schema.is_object() && all.contains(place)) schema[place] = all[place];
      }
      return argument.schema(schema).mark(format_.value_close);
    }
    if (!property.contains("enum") && !property.contains("const")) {
      for (const char* key : {"minLength", "maxLength", "pattern", "format"}) {
        if (property.contains(key))
          fail(ErrorCode::invalid_argument,
               "'{}' of {} cannot be enforced in the way this model writes arguments", key, name);
      }
      return argument.text_up_to(format_.value_close);
    }
    std::vector<Structure> cases;
    for (const Json& value : property.value("enum", Json::array({property.value("const", Json())}))) {
      if (value.is_string()) cases.push_back(empty().mark(value.get<std::string>()));
    }
    return argument.either(cases).mark(format_.value_close);
  }

  Json object_of(const Tool& tool, const std::string& place) const {
    const std::string& key = format_.arguments_key;
    const Json name = {{"const", tool.name}},
               arguments = moved(tool.parameters, place + "/properties/" + key);
    Json properties;
    if (format_.name_first) properties[format_.name_key] = name;
    properties[key] = arguments;
    if (!format_.name_first) properties[format_.name_key] = name;
    return {{"type", "object"},
            {"properties", std::move(properties)},
            {"required", {format_.name_key, key}},
            {"additionalProperties", false}};
  }

  Json array_of(const std::vector<Tool>& tools) const {
    Json cases = Json::array();
    for (const Tool& tool : tools)
      cases.push_back(object_of(tool, fmt::format("/items/anyOf/{}", cases.size())));
    Json array = {{"type", "array"}, {"items", {{"anyOf", std::move(cases)}}}, {"minItems", 1}};
    if (!parallel_) array["maxItems"] = 1;
    return array;
  }

  const text::ToolFormat& format_;
  const text::Tokenizer& tokenizer_;
  const bool parallel_;
};

// Where the model chooses, only strict functions are held to their schemas.
std::vector<Tool> loosened(const Tools& tools) {
  std::vector<Tool> all = tools.all;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!tools.strict[i]) all[i].parameters = {{"type", "object"}};
  }
  return all;
}

}  // namespace

std::shared_ptr<const grammar::Grammar> held_to(const Tools& tools, const std::optional<Form>& form,
                                                const AnswerFormat& format, const text::Tokenizer& tokenizer,
                                                grammar::Compiler& compiler) {
  const bool may_call = tools.choice != Tools::Choice::none,
             must_call = tools.choice == Tools::Choice::required;
  const bool strict =
      may_call && std::find(tools.strict.begin(), tools.strict.end(), true) != tools.strict.end();
  if (!form && !must_call && !strict) return nullptr;
  if (form && must_call)
    fail(ErrorCode::invalid_argument, "an answer that must be a call cannot be of a format too");
  if (!may_call && !format.in_reasoning) return compiler.compile(form->kind, form->text);
  Structure answer(tokenizer);
  if (format.in_reasoning) answer.text_up_to(format.reasoning->close).blanks();
  if (!may_call) {
    answer.part(form->kind, form->text);
  } else {
    const Calls calls(*format.calls, tokenizer, tools.parallel);
    if (form) {
      answer.either({calls.all(loosened(tools)), Structure(tokenizer).part(form->kind, form->text)});
    } else if (must_call) {
      answer.either({calls.all(tools.all)});
    } else {
      answer.either({calls.in_text(loosened(tools))});
    }
  }
  return compiler.compile(Kind::structure, answer.text());
}

}  // namespace cairn::llm
