#include "server/output_format.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/error.hpp"
#include "grammar/compiler.hpp"

namespace cairn::server {
namespace {

using grammar::Kind;

// A schema comes as an object, or as the text of one.
std::string schema_text(const Fields& fields, const char* name, const Json& schema) {
  if (schema.is_string()) return schema.get<std::string>();
  if (!schema.is_object() && !schema.is_boolean()) fields.refuse(name, "a JSON schema was expected");
  return schema.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string quoted(const std::string& text) {  // for GBNF
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string choices(const Fields& fields, const char* name, const Json& texts) {
  if (!texts.is_array() || texts.empty()) fields.refuse(name, "an array of texts was expected");
  std::vector<std::string> all;
  for (const Json& one : texts) {
    if (!one.is_string()) fields.refuse(name, "an array of texts was expected");
    all.push_back(quoted(one.get<std::string>()));
  }
  return fmt::format("root ::= {}", fmt::join(all, " | "));
}

std::optional<OutputFormat> response_format(const Fields& fields) {
  const Json* format = fields.find("response_format");
  if (format == nullptr) return std::nullopt;
  if (!format->is_object()) fields.refuse("response_format", "an object with a type was expected");
  const Fields inner(*format, "response_format.");
  const auto type = inner.text("type");
  if (!type) fields.refuse("response_format", "an object with a type was expected");
  const Json* schema = inner.find("schema");  // llama.cpp's place for it
  if (*type == "text") return std::nullopt;
  if (*type == "json_object") {
    return OutputFormat{Kind::json_schema,
                        schema == nullptr ? R"({"type": "object"})" : schema_text(inner, "schema", *schema),
                        "response_format"};
  }
  if (*type != "json_schema")
    inner.refuse("type", fmt::format("this server knows text, json_object and json_schema, not {}", *type));
  const Json* named = inner.find("json_schema");
  if (named != nullptr) {
    if (!named->is_object()) inner.refuse("json_schema", "an object was expected");
    const Fields fields_of_it(*named, "response_format.json_schema.");
    fields_of_it.flag("strict");  // it is always
    schema = fields_of_it.find("schema");
    if (schema == nullptr) fields_of_it.refuse("schema", "it is missing");
  }
  if (schema == nullptr) inner.refuse("json_schema", "it is missing");
  return OutputFormat{Kind::json_schema, schema_text(inner, "json_schema", *schema), "response_format"};
}

struct Name {
  const char* name;
  Kind kind;
};

// json, regex, choice, grammar, by such names.
void add_named(const Fields& fields, const std::vector<Name>& names, const char* choice,
               const std::string& prefix, std::vector<OutputFormat>& found) {
  for (const Name& one : names) {
    const Json* value = fields.find(one.name);
    if (value == nullptr) continue;
    if (one.kind != Kind::json_schema && !value->is_string()) fields.refuse(one.name, "a text was expected");
    if (value->is_string() && value->get_ref<const std::string&>().empty()) continue;  // llama.cpp's clients
    found.push_back(
        {one.kind,
         one.kind == Kind::json_schema ? schema_text(fields, one.name, *value) : value->get<std::string>(),
         prefix + one.name});
  }
  if (const Json* texts = choice == nullptr ? nullptr : fields.find(choice))
    found.push_back({Kind::ebnf, choices(fields, choice, *texts), prefix + choice});
}

}  // namespace

std::optional<OutputFormat> read_output_format(const Fields& fields) {
  std::vector<OutputFormat> found;
  if (auto format = response_format(fields)) found.push_back(std::move(*format));
  add_named(
      fields,
      {{"guided_json", Kind::json_schema}, {"guided_regex", Kind::regex}, {"guided_grammar", Kind::ebnf}},
      "guided_choice", "", found);
  add_named(fields, {{"json_schema", Kind::json_schema}, {"grammar", Kind::ebnf}}, nullptr, "", found);
  if (const Json* outputs = fields.find("structured_outputs")) {
    if (!outputs->is_object()) fields.refuse("structured_outputs", "an object was expected");
    const Fields inner(*outputs, "structured_outputs.");
    for (const char* name : {"json_object", "structural_tag"}) {
      const Json* value = inner.find(name);
      if (value != nullptr && *value != false)
        inner.refuse(name, "this server knows json, regex, choice and grammar");
    }
    add_named(inner, {{"json", Kind::json_schema}, {"regex", Kind::regex}, {"grammar", Kind::ebnf}}, "choice",
              "structured_outputs.", found);
  }
  if (found.size() > 1)
    fields.refuse(found[1].param, fmt::format("an answer cannot be held to {} too", found[0].param));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

grammar::Compiler& grammars(const ServedModel& model) {
  if (!model.grammars) model.grammars = std::make_shared<grammar::Compiler>(model.tokenizer);
  return *model.grammars;
}

void compiling(const std::string& param, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    refuse(param, error.what());
  }
}

}  // namespace cairn::server
