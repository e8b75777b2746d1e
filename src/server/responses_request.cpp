#include "server/responses_request.hpp"

#include <fmt/format.h>

#include <utility>

namespace cairn::server {
namespace {

// A text, or parts of texts.
std::string content_of(const Json& object, const char* field, const std::string& at) {
  const std::string place = fmt::format("{}.{}", at, field);
  const Json* content = Fields(object).find(field);
  if (content == nullptr) refuse(place, "it is missing");
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) refuse(place, "a string or an array of parts was expected");
  return joined_texts(*content, place);
}

// Items in the order of the conversation as messages: what a model reasoned, said and called in one turn are
// items there and one message here.
class Messages {
 public:
  void add(const Json& item, const std::string& at) {
    if (!item.is_object()) refuse(at, "an object was expected");
    const Fields fields(item, at + ".");
    const std::string type = fields.text("type").value_or("message");
    if (type == "message") {
      const std::string role = fields.needed_text("role");
      if (role == "assistant") {
        assistant()["content"] = content_of(item, "content", at);
      } else {
        all_.push_back({{"role", role}, {"content", content_of(item, "content", at)}});
      }
    } else if (type == "function_call") {
      // Behind what the assistant said in the same turn.
      const bool same = !all_.empty() && all_.back()["role"] == "assistant" && reasoning_.empty();
      Json& message = same ? all_.back() : assistant();
      message["tool_calls"].push_back(
          {{"id", fields.needed_text("call_id")},
           {"type", "function"},
           {"function",
            {{"name", fields.needed_text("name")}, {"arguments", fields.needed_text("arguments")}}}});
    } else if (type == "function_call_output") {
      all_.push_back({{"role", "tool"},
                      {"tool_call_id", fields.needed_text("call_id")},
                      {"content", content_of(item, "output", at)}});
    } else if (type == "reasoning") {
      const Json* content = fields.find("content");
      if (content == nullptr || !content->is_array()) return;  // a summary is no text of the model's
      for (const Json& part : *content) {
        if (part.is_object() && part.contains("text") && part["text"].is_string())
          reasoning_ += part["text"].get<std::string>();
      }
    } else {
      refuse(at, fmt::format("this server does not know items of type {}", type));
    }
  }
  Json take() { return std::move(all_); }

 private:
  Json& assistant() {
    all_.push_back({{"role", "assistant"}, {"content", ""}});
    if (!reasoning_.empty()) all_.back()["reasoning_content"] = std::exchange(reasoning_, {});
    return all_.back();
  }

  Json all_ = Json::array();
  std::string reasoning_;  // of the assistant's next message
};

Json messages_of(const Fields& fields) {
  Json all = Json::array();
  if (const auto instructions = fields.text("instructions"); instructions && !instructions->empty())
    all.push_back({{"role", "system"}, {"content", *instructions}});
  const Json* input = fields.find("input");
  if (input == nullptr) fields.refuse("input", "it is missing");
  if (input->is_string()) {
    all.push_back({{"role", "user"}, {"content", *input}});
    return all;
  }
  if (!input->is_array() || input->empty())
    fields.refuse("input", "a string or an array of items was expected");
  Messages messages;
  for (size_t i = 0; i < input->size(); ++i) messages.add((*input)[i], fmt::format("input[{}]", i));
  for (Json& one : messages.take()) all.push_back(std::move(one));
  if (all.empty()) fields.refuse("input", "there is no message in it");
  return all;
}

bool is_function(const Json& object) {
  return object.is_object() && object.contains("type") && object["type"] == "function";
}

// The fields of a flat object, one level deeper.
Json nested(const Json& flat, const char* under) {
  Json inner = flat;
  inner.erase("type");
  return {{"type", flat["type"]}, {under, std::move(inner)}};
}

void add_tools(const Fields& fields, Json& chat) {
  if (const Json* tools = fields.find("tools")) {
    if (!tools->is_array()) fields.refuse("tools", "an array was expected");
    chat["tools"] = Json::array();
    for (const Json& tool : *tools) {
      if (is_function(tool)) chat["tools"].push_back(nested(tool, "function"));
    }
  }
  if (const Json* choice = fields.find("tool_choice")) {
    if (!choice->is_string() && !is_function(*choice))
      fields.refuse("tool_choice", "auto, none, required or a function was expected");
    chat["tool_choice"] = choice->is_string() ? *choice : nested(*choice, "function");
  }
}

void add_format(const Fields& fields, Json& chat) {
  const Json* text = fields.find("text");
  if (text == nullptr) return;
  if (!text->is_object()) fields.refuse("text", "an object was expected");
  const Json* format = Fields(*text).find("format");
  if (format == nullptr) return;
  if (!format->is_object() || !format->contains("type"))
    refuse("text.format", "an object with a type was expected");
  chat["response_format"] = (*format)["type"] == "json_schema" ? nested(*format, "json_schema") : *format;
}

void refuse_state(const Fields& fields) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"}) {
    if (fields.find(name) != nullptr)
      fields.refuse(name, "this server keeps nothing between requests: send the whole conversation as input");
  }
  if (fields.flag("background")) fields.refuse("background", "this server answers at once or not at all");
}

bool wants_logprobs(const Fields& fields) {
  const Json* include = fields.find("include");
  if (include == nullptr) return false;
  if (!include->is_array()) fields.refuse("include", "an array was expected");
  bool wanted = false;
  for (const Json& one : *include) {
    if (!one.is_string()) fields.refuse("include", "each must be a string");
    wanted = wanted || one == "message.output_text.logprobs";
  }
  return wanted;
}

}  // namespace

Json chat_of_responses(const Json& body) {
  const Fields fields(body);
  refuse_state(fields);
  Json chat = {{"messages", messages_of(fields)}};
  if (const auto most = fields.integer("max_output_tokens", 0, UINT32_MAX)) chat["max_tokens"] = *most;
  if (const Json* reasoning = fields.find("reasoning")) {
    if (!reasoning->is_object()) fields.refuse("reasoning", "an object was expected");
    if (const auto effort = Fields(*reasoning, "reasoning.").text("effort"))
      chat["reasoning_effort"] = *effort;
  }
  const auto top = fields.integer("top_logprobs", 0, 20);
  if (wants_logprobs(fields)) {
    chat["logprobs"] = true;
    chat["top_logprobs"] = top.value_or(0);
  }
  add_tools(fields, chat);
  add_format(fields, chat);
  for (const char* same : {"model", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "stream",
                           "parallel_tool_calls", "chat_template_kwargs"}) {
    if (const Json* value = fields.find(same)) chat[same] = *value;
  }
  return chat;
}

}  // namespace cairn::server
