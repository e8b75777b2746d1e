#include "server/tools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "server/encoder.hpp"

namespace cairn::server {
namespace {

constexpr size_t kMostTools = 128, kLongestName = 64;  // OpenAI's

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= kLongestName &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
         });
}

void read_function(const Json& function, const std::string& at, Tools& tools) {
  if (!function.is_object()) refuse(at, "an object was expected");
  const Fields fields(function, at + ".");
  const auto name = fields.text("name");
  if (!name || !is_name(*name))
    fields.refuse("name",
                  fmt::format("up to {} letters, digits, '_', '-' and '.' were expected", kLongestName));
  if (std::any_of(tools.all.begin(), tools.all.end(), [&](const auto& one) { return one.name == *name; }))
    fields.refuse("name", fmt::format("there are two functions '{}'", *name));
  fields.text("description");
  const Json* parameters = fields.find("parameters");
  if (parameters != nullptr && !parameters->is_object())
    fields.refuse("parameters", "a JSON schema was expected");
  Json described = function;
  described.erase("strict");  // which no template was trained with
  if (parameters == nullptr) described["parameters"] = {{"type", "object"}, {"properties", Json::object()}};
  tools.all.push_back({*name, described["parameters"]});
  tools.strict.push_back(fields.flag("strict"));
  tools.described.push_back({{"type", "function"}, {"function", std::move(described)}});
}

void read_choice(const Fields& fields, Tools& tools) {
  tools.choice = tools.all.empty() ? Tools::Choice::none : Tools::Choice::automatic;
  const Json* choice = fields.find("tool_choice");
  if (choice == nullptr) return;
  const auto is = [&](const char* word) { return choice->is_string() && *choice == word; };
  if (is("none")) {
    tools.choice = Tools::Choice::none;
    return;
  }
  if (is("auto")) return;
  if (!is("required") && !choice->is_object())
    fields.refuse("tool_choice", "none, auto, required or an object that names a function was expected");
  if (tools.all.empty()) fields.refuse("tool_choice", "there is no function among the tools");
  tools.choice = Tools::Choice::required;
  if (!choice->is_object()) return;
  const Json* function = Fields(*choice).find("function");
  const Fields named(function != nullptr && function->is_object() ? *function : *choice, "tool_choice.");
  const auto name = named.text("name");
  if (!name) fields.refuse("tool_choice", "it names no function");
  const auto found =
      std::find_if(tools.all.begin(), tools.all.end(), [&](const auto& one) { return one.name == *name; });
  if (found == tools.all.end())
    fields.refuse("tool_choice", fmt::format("there is no function '{}' among the tools", *name));
  tools.strict = {tools.strict[static_cast<size_t>(found - tools.all.begin())]};
  tools.all = {text::Tool(*found)};
}

// A call of an earlier turn, its arguments as an object. Clients send "" where there are none.
Json checked_call(const Json& call, const std::string& at) {
  const Json* function = call.is_object() ? Fields(call).find("function") : nullptr;
  if (function == nullptr || !function->is_object()) refuse(at + ".function", "an object was expected");
  const Fields fields(*function, at + ".function.");
  const auto name = fields.text("name");
  if (!name) fields.refuse("name", "a string was expected");
  const Json* given = fields.find("arguments");
  Json arguments = given == nullptr ? Json::object() : *given;
  if (arguments.is_string()) {
    const std::string text = arguments.get<std::string>();
    arguments = text.empty() ? Json::object() : Json::parse(text, nullptr, false);
  }
  if (!arguments.is_object()) fields.refuse("arguments", "a JSON object, as text, was expected");
  return {{"id", Fields(call, at + ".").text("id").value_or("")},
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
  for (Json& message : messages) {
    if (message["role"] == "tool") {
      message = {
          {"role", "user"},
          {"content", "<tool_response>\n" + message["content"].get<std::string>() + "\n</tool_response>"}};
    }
    if (!message.contains("tool_calls")) continue;
    std::string text = message["content"].get<std::string>();
    for (const Json& call : message["tool_calls"]) text += (text.empty() ? "" : "\n") + plain_call(call);
    message["content"] = text;
    message.erase("tool_calls");
  }
  if (described.empty()) return;
  if (messages[0]["role"] != "system") messages.insert(messages.begin(), llm::message("system", ""));
  const std::string before = messages[0]["content"].get<std::string>();
  messages[0]["content"] = before + (before.empty() ? "" : "\n\n") + explained(described);
}

}  // namespace

Tools read_tools(const Json& body) {
  const Fields fields(body);
  Tools tools;
  if (const Json* given = fields.find("tools")) {
    if (!given->is_array()) fields.refuse("tools", "an array was expected");
    if (given->size() > kMostTools) fields.refuse("tools", fmt::format("at most {} are taken", kMostTools));
    for (size_t i = 0; i < given->size(); ++i) {
      const Json& tool = (*given)[i];
      const std::string at = fmt::format("tools[{}]", i);
      if (!tool.is_object()) refuse(at, "an object was expected");
      if (Fields(tool, at + ".").text("type").value_or("function") != "function") continue;
      const Json* function = Fields(tool).find("function");
      read_function(function == nullptr ? tool : *function, function == nullptr ? at : at + ".function",
                    tools);
    }
  }
  read_choice(fields, tools);
  if (fields.find("parallel_tool_calls")) tools.parallel = fields.flag("parallel_tool_calls");
  return tools;
}

std::shared_ptr<const text::ToolFormat> tool_format(const ServedModel& model) {
  if (!model.looked_for_tools) {
    model.looked_for_tools = true;
    if (const auto found = text::tool_format(*model.chat_template(), *model.tokenizer))
      model.tool_format = std::make_shared<const text::ToolFormat>(*found);
  }
  return model.tool_format;
}

void add_tools(llm::Conversation& conversation, const Tools& tools, const text::ToolFormat* format) {
  const Json described = tools.choice == Tools::Choice::none ? Json::array() : tools.described;
  std::map<std::string, std::string> names;  // of calls, by their ids
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    Json& message = conversation.messages[i];
    const std::string at = fmt::format("messages[{}]", i);
    if (message["role"] == "tool" && !message.contains("name")) {
      const auto id = Fields(message, at + ".").text("tool_call_id");
      if (id && names.contains(*id)) message["name"] = names[*id];
    }
    if (!message.contains("tool_calls")) continue;
    if (message["tool_calls"].is_null() || message["tool_calls"].empty()) {
      message.erase("tool_calls");
      continue;
    }
    if (!message["tool_calls"].is_array()) refuse(at + ".tool_calls", "an array was expected");
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

}  // namespace cairn::server
