#include "server/messages_request.hpp"

#include <fmt/format.h>

#include <utility>

#include "server/sampling_fields.hpp"

namespace cairn::server {
namespace {

// Claude Code's first block of a system prompt, which is for Anthropic's accounts: it changes with every
// request, and no prefix of what was read before could be used again.
constexpr std::string_view kBilling = "x-anthropic-billing-header";

std::string type_of(const Json& block, const std::string& at) {
  if (!block.is_object()) refuse(at, "an object was expected");
  const auto type = Fields(block, at + ".").text("type");
  if (!type) refuse(at, "each block needs a type");
  return *type;
}

void append(std::string& to, const std::string& text) {
  if (!to.empty() && !text.empty()) to += '\n';
  to += text;
}

// A text, or blocks of texts alone.
std::string texts(const Json& content, const std::string& at) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse(at, "a string or an array of blocks was expected");
  std::string all;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", at, i), type = type_of(content[i], place);
    if (type != "text") refuse(place, fmt::format("this model reads text alone, not {}", type));
    append(all, Fields(content[i], place + ".").needed_text("text"));
  }
  return all;
}

std::string system_text(const Json& system) {
  if (!system.is_array()) {
    std::string text = texts(system, "system");
    if (text.starts_with(kBilling)) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
    return text;
  }
  Json rest = Json::array();
  for (const Json& block : system) {
    const bool billing = block.is_object() && block.contains("text") && block["text"].is_string() &&
                         block["text"].get_ref<const std::string&>().starts_with(kBilling);
    if (!billing) rest.push_back(block);
  }
  return texts(rest, "system");
}

// What a tool gave back, as a message of its own.
Json tool_message(const Json& block, const std::string& at) {
  const Fields fields(block, at + ".");
  const Json* content = fields.find("content");
  return {{"role", "tool"},
          {"tool_call_id", fields.needed_text("tool_use_id")},
          {"content", content == nullptr ? std::string() : texts(*content, at + ".content")}};
}

Json call_of(const Json& block, const std::string& at) {
  const Fields fields(block, at + ".");
  const Json* input = fields.find("input");
  if (input != nullptr && !input->is_object()) fields.refuse("input", "an object was expected");
  return {{"id", fields.needed_text("id")},
          {"type", "function"},
          {"function",
           {{"name", fields.needed_text("name")}, {"arguments", input == nullptr ? "{}" : dumped(*input)}}}};
}

// A message of blocks becomes one of text, behind those of the tools whose results it holds.
void add_message(const Json& message, const std::string& at, Json& to) {
  if (!message.is_object()) refuse(at, "an object was expected");
  const std::string role = Fields(message, at + ".").needed_text("role");
  if (role != "user" && role != "assistant" && role != "system")
    refuse(at + ".role", fmt::format("there is no role '{}'", role));
  const Json* content = Fields(message).find("content");
  if (content == nullptr) refuse(at + ".content", "it is missing");
  Json result = {{"role", role}, {"content", ""}};
  if (content->is_string()) {
    result["content"] = *content;
    to.push_back(std::move(result));
    return;
  }
  if (!content->is_array()) refuse(at + ".content", "a string or an array of blocks was expected");
  std::string text, reasoning;
  bool tools = false;
  for (size_t i = 0; i < content->size(); ++i) {
    const Json& block = (*content)[i];
    const std::string place = fmt::format("{}.content[{}]", at, i), type = type_of(block, place);
    if (type == "text") {
      append(text, Fields(block, place + ".").needed_text("text"));
    } else if (type == "tool_result" && role == "user") {
      to.push_back(tool_message(block, place));
      tools = true;
    } else if (type == "tool_use" && role == "assistant") {
      result["tool_calls"].push_back(call_of(block, place));
    } else if (type == "thinking" && role == "assistant") {
      append(reasoning, Fields(block, place + ".").needed_text("thinking"));
    } else if (type != "redacted_thinking") {
      refuse(place, fmt::format("this model reads text alone, not {} of {}", type, role));
    }
  }
  if (!reasoning.empty()) result["reasoning_content"] = reasoning;
  if (tools && text.empty()) return;
  result["content"] = std::move(text);
  to.push_back(std::move(result));
}

void add_tools(const Fields& fields, Json& chat) {
  if (const Json* tools = fields.find("tools")) {
    if (!tools->is_array()) fields.refuse("tools", "an array was expected");
    chat["tools"] = Json::array();
    for (size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      const std::string at = fmt::format("tools[{}]", i);
      if (!tool.is_object()) refuse(at, "an object was expected");
      const Fields function_fields(tool, at + ".");
      const Json* schema = function_fields.find("input_schema");
      if (schema == nullptr) continue;  // one of Anthropic's own, which only Anthropic runs
      Json function = {{"name", function_fields.needed_text("name")}, {"parameters", *schema}};
      if (const auto description = function_fields.text("description"))
        function["description"] = *description;
      chat["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  const Json* choice = fields.find("tool_choice");
  if (choice == nullptr) return;
  const std::string type = type_of(*choice, "tool_choice");
  const Fields chosen(*choice, "tool_choice.");
  if (type == "tool") {
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", chosen.needed_text("name")}}}};
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type == "auto" || type == "none") {
    chat["tool_choice"] = type;
  } else {
    chosen.refuse("type", fmt::format("'{}' is none of auto, any, tool and none", type));
  }
  if (chosen.find("disable_parallel_tool_use"))
    chat["parallel_tool_calls"] = !chosen.flag("disable_parallel_tool_use");
}

}  // namespace

Json chat_of_messages(const Json& body) {
  const Fields fields(body);
  Json chat = {{"messages", Json::array()}};
  if (const Json* system = fields.find("system")) {
    const std::string text = system_text(*system);
    if (!text.empty()) chat["messages"].push_back({{"role", "system"}, {"content", text}});
  }
  const Json* messages = fields.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    refuse("messages", "an array of messages was expected");
  for (size_t i = 0; i < messages->size(); ++i)
    add_message((*messages)[i], fmt::format("messages[{}]", i), chat["messages"]);
  if (chat["messages"].back()["role"] == "assistant") chat["continue_final_message"] = true;
  llm::GenerateOptions checked;
  read_stop(fields, "stop_sequences", checked);
  chat["stop"] = checked.stop;
  add_tools(fields, chat);
  if (const Json* thinking = fields.find("thinking")) {
    const std::string type = type_of(*thinking, "thinking");
    if (type != "enabled" && type != "adaptive" && type != "disabled")
      refuse("thinking.type", fmt::format("'{}' is none of enabled, adaptive and disabled", type));
    chat["chat_template_kwargs"] = {{"enable_thinking", type != "disabled"}};
  }
  if (const Json* output = fields.find("output_config")) {
    if (!output->is_object()) fields.refuse("output_config", "an object was expected");
    if (const Json* format = Fields(*output).find("format")) {
      if (type_of(*format, "output_config.format") != "json_schema" || !format->contains("schema"))
        refuse("output_config.format", "a json_schema with its schema was expected");
      chat["response_format"] = {
          {"type", "json_schema"},
          {"json_schema", {{"name", "output"}, {"schema", (*format)["schema"]}, {"strict", true}}}};
    }
  }
  for (const char* same :
       {"model", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stream"}) {
    if (const Json* value = fields.find(same)) chat[same] = *value;
  }
  return chat;
}

}  // namespace cairn::server
