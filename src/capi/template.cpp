// Conversations and chat templates.
#include "capi/template.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "cairn/model.h"
#include "capi/call.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "llm/chat.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace cairn::capi {

nlohmann::ordered_json parse_json(const char* text, const char* what) {
  // As deep as the server reads: whoever walks through it goes down as deep.
  constexpr int kDeepest = 64;
  const std::string_view given = text_of(text, what);
  const auto watch = [&](int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
    if (depth > kDeepest) fail(ErrorCode::format, "{}: deeper than {} levels", what, kDeepest);
    return true;
  };
  try {
    return nlohmann::ordered_json::parse(given, watch);
  } catch (const nlohmann::json::exception& thrown) {
    fail(ErrorCode::format, "{}: no JSON: {}", what, thrown.what());
  }
}

}  // namespace cairn::capi

namespace {

constexpr cairn_template_options kUsual = {sizeof(cairn_template_options), nullptr, 0, nullptr};

llm::Conversation conversation_of(const char* messages, const cairn_template_options& given) {
  llm::Conversation conversation;
  conversation.messages = parse_json(messages, "messages");
  if (!conversation.messages.is_array()) fail(ErrorCode::format, "messages: no array");
  for (const auto& one : conversation.messages) {
    if (!one.is_object() || !one.contains("role") || !one["role"].is_string())
      fail(ErrorCode::format, "messages: each is an object with a role");
  }
  if (given.variables != nullptr) {
    conversation.variables = parse_json(given.variables, "variables");
    if (!conversation.variables.is_object()) fail(ErrorCode::format, "variables: no object");
  }
  conversation.sanitize = given.sanitize != 0;
  return conversation;
}

llm::Rendered render(Model& model, const char* messages, const cairn_template_options* options) {
  const cairn_template_options given = read_options(options, kUsual, "cairn_template_options");
  llm::Conversation conversation = conversation_of(messages, given);
  if (given.tools != nullptr || llm::has_calls(conversation.messages)) {
    llm::Tools tools;
    if (given.tools != nullptr) tools = llm::read_tools(parse_json(given.tools, "tools"), {});
    const auto forms = model.forms();
    llm::add_tools(conversation, tools, forms->calls.get());
    return llm::render(*forms->chat_template, *forms->tokenizer, conversation);
  }
  const bool tools = conversation.variables.contains("tools");
  return llm::render(*model.model->chat_template(tools ? "tool_use" : ""), *model.model->tokenizer(),
                     conversation);
}

}  // namespace

void cairn_template_options_init(cairn_template_options* options, size_t size) {
  write_usual(options, size, kUsual);
}

cairn_status cairn_messages_json(const cairn_message* messages, size_t message_count, char** json,
                                 cairn_error* error) {
  return call(error, [&] {
    require(json, "json");
    *json = nullptr;
    auto array = nlohmann::ordered_json::array();
    for (const cairn_message& one : numbers_of(messages, message_count, "messages"))
      array.push_back(llm::message(text_of(one.role, "role"), text_of(one.content, "content")));
    *json = handed_out(array.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
}

cairn_status cairn_template_render(const cairn_model* model, const char* messages,
                                   const cairn_template_options* options, char** text, size_t* text_size,
                                   cairn_error* error) {
  return call(error, [&] {
    require(text, "text");
    *text = nullptr;
    if (text_size != nullptr) *text_size = 0;
    const auto of = object_of<Model>(model);
    const llm::Rendered rendered = render(*of, messages, options);
    of->check();
    *text = handed_out(rendered.text);
    if (text_size != nullptr) *text_size = rendered.text.size();
  });
}

cairn_status cairn_template_tokenize(const cairn_model* model, const char* messages,
                                     const cairn_template_options* options, int32_t** tokens,
                                     size_t* token_count, cairn_error* error) {
  return call(error, [&] {
    require(tokens, "tokens");
    require(token_count, "token_count");
    *tokens = nullptr;
    *token_count = 0;
    const auto of = object_of<Model>(model);
    const auto encoded = llm::encode_rendered(*of->model->tokenizer(), render(*of, messages, options));
    of->check();
    *tokens = handed_out(encoded);
    *token_count = encoded.size();
  });
}
