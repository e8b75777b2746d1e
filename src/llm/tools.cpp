#include "llm/tools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

namespace cairn::llm {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostTools = 128, kLongestName = 64;  // OpenAI's

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= kLongestName &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
         });
}

// A field that is there and not null.
const Json* find(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(name);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

// A text; at: the object's place.
std::optional<std::string> text_in(const Json& object, const char* name, const std::string& at) {
  const Json* value = find(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string())
    throw FieldError(at + "." + name, fmt::format("a string was expected, not a {}", value->type_name()));
  return value->get<std::string>();
}

const std::string& content_of(const Json& message, const std::string& at) {
  const Json* content = find(message, "content");
  if (content == nullptr || !content->is_string()) throw FieldError(at + ".content", "a text was expected");
  return content->get_ref<const std::string&>();
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void read_function(const Json& function, const std::string& at, Tools& tools) {
  if (!function.is_object()) throw FieldError(at, "an object was expected");
  const auto name = text_in(function, "name", at);
  if (!name || !is_name(*name)) {
    throw FieldError(at + ".name",
                     fmt::format("up to {} letters, digits, '_', '-' and '.' were expected", kLongestName));
  }
  if (std::any_of(tools.all.begin(), tools.all.end(), [&](const auto& one) { return one.name == *name; }))
    throw FieldError(at + ".name", fmt::format("there are two functions '{}'", *name));
  text_in(function, "description", at);
  const Json* parameters = find(function, "parameters");
  if (parameters != nullptr && !parameters->is_object())
    throw FieldError(at + ".parameters", "a JSON schema was expected");
  const Json* strict = find(function, "strict");
  if (strict != nullptr && !strict->is_boolean()) {
    throw FieldError(at + ".strict",
                     fmt::format("true or false was expected, not a {}", strict->type_name()));
  }
  const bool is_strict = strict != nullptr && strict->get<bool>();
  Json described = function;
  described.erase("strict");  // which no template was trained with
  if (parameters == nullptr) described["parameters"] = {{"type", "object"}, {"properties", Json::object()}};
  tools.all.push_back({*name, described["parameters"]});
  tools.strict.push_back(is_strict);
  tools.described.push_back({{"type", "function"}, {"function", std::move(described)}});
}

void read_choice(const Json& choice, Tools& tools) {
  const std::string at = "tool_choice";
  tools.choice = tools.all.empty() ? Tools::Choice::none : Tools::Choice::automatic;
  if (choice.is_null() || choice == "auto") return;
  if (choice == "none") {
    tools.choice = Tools::Choice::none;
    return;
  }
  if (choice != "required" && !choice.is_object())
    throw FieldError(at, "none, auto, required or an object that names a function was expected");
  if (tools.all.empty()) throw FieldError(at, "there is no function among the tools");
  tools.choice = Tools::Choice::required;
  if (!choice.is_object()) return;
  const Json* function = find(choice, "function");
  const auto name = text_in(function != nullptr && function->is_object() ? *function : choice, "name", at);
  if (!name) throw FieldError(at, "it names no function");
  const auto found =
      std::find_if(tools.all.begin(), tools.all.end(), [&](const auto& one) { return one.name == *name; });
  if (found == tools.all.end())
    throw FieldError(at, fmt::format("there is no function '{}' among the tools", *name));
  tools.strict = {tools.strict[static_cast<size_t>(found - tools.all.begin())]};
  tools.all = {text::Tool(*found)};
}

// A call of an earlier turn, its arguments as an object. Clients send "" where there are none.
Json checked_call(const Json& call, const std::string& at) {
  const Json* function = find(call, "function");
  if (function == nullptr || !function->is_object())
    throw FieldError(at + ".function", "an object was expected");
  const auto name = text_in(*function, "name", at + ".function");
  if (!name) throw FieldError(at + ".function.name", "a string was expected");
  const Json* given = find(*function, "arguments");
  Json arguments = given == nullptr ? Json::object() : *given;
  if (arguments.is_string()) {
    const std::string text = arguments.get<std::string>();
    arguments = text.empty() ? Json::object() : Json::parse(text, nullptr, false);
  }
  if (!arguments.is_object())
    throw FieldError(at + ".function.arguments", "a JSON object, as text, was expected");
  return {{"id", text_in(call, "id", at).value_or("")},
          {"type", "function"},
          {"function", {{"name", *name}, {"arguments", std::move(arguments)}}}};
}

// What explains plain_tool_format() to a model whose template does not.
std::string explained(const Json& described) {
  std::string text =
      "# Tools\n\nYou may call functions to help with the user's request. They are, one a line:\n";
  for (const Json& tool : described) text += dumped(tool) + "\n";
  return text +
         "\nTo call one, write its name and arguments as JSON between <tool_call> and </tool_call>:\n"
         "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {}}\n</tool_call>";
}

std::string plain_call(const Json& call) {
  const Json written = {{"name", call["function"]["name"]}, {"arguments", call["function"]["arguments"]}};
  return "<tool_call>\n" + dumped(written) + "\n</tool_call>";
}

// The same conversation for a template that knows neither calls nor tools.
void make_plain(Json& messages, const Json& described) {
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    const std::string at = fmt::format("messages[{}]", i);
    if (message["role"] == "tool") {
      message = {{"role", "user"},
                 {"content", "<tool_response>\n" + content_of(message, at) + "\n</tool_response>"}};
    }
    if (!message.contains("tool_calls")) continue;
    std::string text = content_of(message, at);
    for (const Json& call : message["tool_calls"]) text += (text.empty() ? "" : "\n") + plain_call(call);
    message["content"] = text;
    message.erase("tool_calls");
  }
  if (described.empty()) return;
  if (messages.empty() || messages[0]["role"] != "system")
    messages.insert(messages.begin(), message("system", ""));
  const std::string before = content_of(messages[0], "messages[0]");
  messages[0]["content"] = before + (before.empty() ? "" : "\n\n") + explained(described);
}

}  // namespace

Tools read_tools(const Json& given, const Json& choice) {
  Tools tools;
  if (!given.is_null()) {
    if (!given.is_array()) throw FieldError("tools", "an array was expected");
    if (given.size() > kMostTools) throw FieldError("tools", fmt::format("at most {} are taken", kMostTools));
    for (size_t i = 0; i < given.size(); ++i) {
      const Json& tool = given[i];
      const std::string at = fmt::format("tools[{}]", i);
      if (!tool.is_object()) throw FieldError(at, "an object was expected");
      if (text_in(tool, "type", at).value_or("function") != "function") continue;
      const Json* function = find(tool, "function");
      read_function(function == nullptr ? tool : *function, function == nullptr ? at : at + ".function",
                    tools);
    }
  }
  read_choice(choice, tools);
  return tools;
}

bool has_calls(const Json& messages) {
  return std::any_of(messages.begin(), messages.end(), [](const Json& one) {
    return one.contains("tool_calls") || one.value("role", Json()) == "tool";
  });
}

void add_tools(Conversation& conversation, const Tools& tools, const text::ToolFormat* format) {
  const Json described = tools.choice == Tools::Choice::none ? Json::array() : tools.described;
  std::map<std::string, std::string> names;  // of calls, by their ids
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    Json& message = conversation.messages[i];
    const std::string at = fmt::format("messages[{}]", i);
    if (message["role"] == "tool" && !message.contains("name")) {
      const auto id = text_in(message, "tool_call_id", at);
      if (id && names.contains(*id)) message["name"] = names[*id];
    }
    if (!message.contains("tool_calls")) continue;
    if (message["tool_calls"].is_null() || message["tool_calls"].empty()) {
      message.erase("tool_calls");
      continue;
    }
    if (!message["tool_calls"].is_array()) throw FieldError(at + ".tool_calls", "an array was expected");
    if (find(message, "content") == nullptr) message["content"] = "";
    for (size_t j = 0; j < message["tool_calls"].size(); ++j) {
      Json& call = message["tool_calls"][j];
      call = checked_call(call, fmt::format("{}.tool_calls[{}]", at, j));
      names[call["id"].get<std::string>()] = call["function"]["name"].get<std::string>();
      Json& arguments = call["function"]["arguments"];
      if (format != nullptr && format->arguments_as_text) arguments = dumped(arguments);
    }
    if (format != nullptr && format->null_content && message["content"] == "") message["content"] = nullptr;
  }
  if (format == nullptr) return make_plain(conversation.messages, described);
  if (!described.empty()) conversation.variables["tools"] = described;
}

}  // namespace cairn::llm
