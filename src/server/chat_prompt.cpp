#include "server/chat_prompt.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/tools.hpp"

namespace cairn::server {
namespace {

// A message as templates know it.
Json checked_message(Json message, size_t index) {
  const std::string at = fmt::format("messages[{}]", index), content_at = at + ".content";
  if (!message.is_object()) refuse(at, "an object was expected");
  Json role = message["role"];  // no reference: the content may be added
  if (!role.is_string()) refuse(at + ".role", "a string was expected");
  if (role == "developer") message["role"] = role = "system";
  static const std::vector<std::string> kRoles = {"system", "user", "assistant", "tool", "function"};
  if (std::find(kRoles.begin(), kRoles.end(), role.get<std::string>()) == kRoles.end())
    refuse(at + ".role", fmt::format("there is no role '{}'", role.get<std::string>()));
  Json& content = message["content"];
  if (content.is_array()) content = joined_texts(content, content_at);
  if (content.is_null() && role == "assistant") content = "";
  if (!content.is_string()) refuse(content_at, "a string or an array of parts was expected");
  return message;
}

// How the model's answers look, found out once.
AnswerFormat answer_format(const ServedModel& model, const text::ChatTemplate& chat_template) {
  if (!model.format)
    model.format = std::make_shared<const AnswerFormat>(
        AnswerFormat{.reasoning = text::reasoning_marks(chat_template, *model.tokenizer)});
  return *model.format;
}

}  // namespace

std::string joined_texts(const Json& parts, const std::string& at) {
  std::string text;
  for (const Json& part : parts) {
    const bool typed = part.is_object() && part.contains("type") && part["type"].is_string();
    if (!typed) refuse(at, "each part needs a type");
    const std::string type = part["type"];
    if (type != "text" && type != "input_text" && type != "output_text" && type != "refusal")
      refuse(at, fmt::format("this model reads text alone, not {}", type));
    const char* field = type == "refusal" ? "refusal" : "text";
    if (!part.contains(field) || !part[field].is_string())
      refuse(at, fmt::format("a part of type {} needs a text", type));
    if (!text.empty()) text += '\n';
    text += part[field].get_ref<const std::string&>();
  }
  return text;
}

llm::Conversation read_conversation(const Json& body) {
  const Json* messages = Fields(body).find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    refuse("messages", "an array of messages was expected");
  llm::Conversation conversation;
  for (size_t i = 0; i < messages->size(); ++i)
    conversation.messages.push_back(checked_message((*messages)[i], i));
  Json& last = conversation.messages.back();
  if (Fields(body).flag("continue_final_message") && last["role"] == "assistant") {
    conversation.begun = last["content"];
    conversation.messages.erase(conversation.messages.size() - 1);
  }
  if (const Json* more = Fields(body).find("chat_template_kwargs")) {
    if (!more->is_object()) refuse("chat_template_kwargs", "an object was expected");
    conversation.variables = *more;
  }
  // A template that knows efforts reads this one; the others can be told not to think at all.
  if (const auto effort = Fields(body).text("reasoning_effort")) {
    if (!conversation.variables.contains("reasoning_effort"))
      conversation.variables["reasoning_effort"] = *effort;
    if (*effort == "none" && !conversation.variables.contains("enable_thinking"))
      conversation.variables["enable_thinking"] = false;
  }
  return conversation;
}

ChatPrompt chat_prompt(const Json& body, const Tools& tools, const ServedModel& model) {
  llm::Conversation conversation = read_conversation(body);
  const bool may_call = tools.choice != Tools::Choice::none;
  const bool has_called = llm::has_calls(conversation.messages);
  try {
    const auto chat_template = model.chat_template();
    const auto calls = may_call || has_called ? tool_format(model) : nullptr;
    if (may_call || has_called) server::add_tools(conversation, tools, calls.get());
    llm::Rendered rendered = llm::render(*chat_template, *model.tokenizer, conversation);
    ChatPrompt prompt;
    prompt.format = answer_format(model, *chat_template);
    if (may_call) {
      prompt.format.calls =
          calls ? calls : std::make_shared<const text::ToolFormat>(text::plain_tool_format());
      prompt.format.tools = std::make_shared<const std::vector<text::Tool>>(tools.all);
    }
    const auto& marks = prompt.format.reasoning;
    prompt.format.in_reasoning = marks && text::ends_in_reasoning(rendered.text, *marks);
    prompt.tokens = llm::encode_rendered(*model.tokenizer, rendered);
    prompt.text = std::move(rendered.text);
    return prompt;
  } catch (const Error& error) {
    throw ApiError(400, fmt::format("the model's chat template: {}", error.what()), "messages");
  }
}

ChatPrompt chat_prompt(const Json& body, const ServedModel& model) {
  return chat_prompt(body, read_tools(body), model);
}

}  // namespace cairn::server
