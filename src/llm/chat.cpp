#include "llm/chat.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "llm/model.hpp"
#include "llm/sanitize.hpp"
#include "llm/tool_use.hpp"

namespace cairn::llm {
namespace {

using Json = nlohmann::ordered_json;

bool is_shown(const GenerateOptions& options, Token token) {
  return std::find(options.shown.begin(), options.shown.end(), token) != options.shown.end();
}

bool has_role(const Json& message, const char* role) {
  return message.value("role", "") == role;
}

// As templates know them.
Json checked_messages(const Json& messages) {
  if (!messages.is_array()) fail(ErrorCode::format, "a conversation is an array of messages");
  Json checked = messages;
  for (Json& one : checked) {
    const bool calls = one.is_object() && one.contains("tool_calls") && one["tool_calls"].is_array();
    if (calls && (!one.contains("content") || one["content"].is_null())) one["content"] = "";
    const bool whole = one.is_object() && one.contains("role") && one["role"].is_string() &&
                       one.contains("content") && one["content"].is_string();
    if (!whole) fail(ErrorCode::format, "a message needs a role and a content, both texts");
  }
  return checked;
}

}  // namespace

Json message(std::string_view role, std::string_view content) {
  std::string buffer;
  return {{"role", std::string(role)}, {"content", std::string(valid_utf8(content, buffer))}};
}

Rendered render(const text::ChatTemplate& chat_template, const text::Tokenizer& tokenizer,
                const Conversation& conversation) {
  Json variables = conversation.variables;
  variables["messages"] = conversation.messages;
  Sanitizer sanitizer(tokenizer);
  if (conversation.sanitize) sanitizer.take_out(variables["messages"]);
  variables["add_generation_prompt"] = true;
  if (const auto bos = tokenizer.bos()) variables["bos_token"] = std::string(tokenizer.raw_token(*bos));
  if (const auto eos = tokenizer.eos()) variables["eos_token"] = std::string(tokenizer.raw_token(*eos));
  Rendered result{chat_template.render(variables), {}};
  if (conversation.sanitize) result.plain = sanitizer.put_back(result.text);
  result.text += conversation.begun;
  return result;
}

std::vector<Token> encode_rendered(const text::Tokenizer& tokenizer, const Rendered& rendered) {
  return tokenizer.encode(
      rendered.text, {.add_bos = false, .add_eos = false, .parse_special = true, .plain = rendered.plain});
}

std::vector<Token> encode_prompt(const Model& model, std::string_view prompt, std::string_view system,
                                 bool raw, bool sanitize) {
  if (raw && !system.empty()) {
    fail(ErrorCode::invalid_argument, "{}: a system message needs a chat template, raw text has none",
         model.file().path());
  }
  if (raw || (system.empty() && !model.has_chat_template())) {
    return model.tokenizer()->encode(prompt, {.add_eos = false, .parse_special = !sanitize});
  }
  Conversation conversation;
  conversation.sanitize = sanitize;
  if (!system.empty()) conversation.messages.push_back(message("system", system));
  conversation.messages.push_back(message("user", prompt));
  return encode_rendered(*model.tokenizer(),
                         render(*model.chat_template(), *model.tokenizer(), conversation));
}

ChatSession::ChatSession(Session& session, std::shared_ptr<const text::ChatTemplate> chat_template,
                         std::string_view system)
    : session_(session), template_(std::move(chat_template)) {
  set_system(system);
}

void ChatSession::set_system(std::string_view system) {
  Json& messages = conversation_.messages;
  if (!messages.empty() && has_role(messages.front(), "system")) messages.erase(0);
  if (!system.empty()) messages.insert(messages.begin(), message("system", system));
}

void ChatSession::set_messages(const Json& messages) {
  conversation_.messages = checked_messages(messages);
}

Json ChatSession::saved() const {
  const Known& known = answered_.text.empty() ? prompt_ : answered_;
  return {{"messages", conversation_.messages}, {"text", known.text}, {"tokens", known.tokens}};
}

void ChatSession::restore(const Json& saved) {
  if (!saved.is_object() || !saved.contains("messages"))
    fail(ErrorCode::format, "a saved chat is an object with messages");
  set_messages(saved["messages"]);
  answered_ = prompt_ = {};
  const auto text = saved.find("text"), tokens = saved.find("tokens");
  if (text == saved.end() || !text->is_string() || tokens == saved.end() || !tokens->is_array()) return;
  const text::Tokenizer& tokenizer = session_.tokenizer();
  Known known{text->get<std::string>(), {}};
  std::string spelled;
  for (const Json& one : *tokens) {
    const int64_t token = one.is_number_integer() ? one.get<int64_t>() : -1;
    if (token < 0 || static_cast<size_t>(token) >= tokenizer.vocabulary()) return;
    known.tokens.push_back(static_cast<Token>(token));
    spelled += tokenizer.piece(known.tokens.back(), true);
  }
  if (spelled == known.text) prompt_ = std::move(known);
}

void ChatSession::clear() {
  Json& messages = conversation_.messages;
  Json kept = Json::array();
  if (!messages.empty() && has_role(messages.front(), "system")) kept.push_back(messages.front());
  messages = std::move(kept);
}

// The tokens of the rendered conversation. As far as it repeats what the model has read and written, those
// very tokens are taken: encoding an answer's text anew may split it otherwise and would lose the cache. Only
// a control token is sure to begin a new piece, so the rest must start with one.
std::vector<Token> ChatSession::encode(const Rendered& rendered) const {
  const text::Tokenizer& tokenizer = session_.tokenizer();
  for (const Known* known : {&answered_, &prompt_}) {
    if (known->text.empty() || !rendered.text.starts_with(known->text)) continue;
    const size_t begin = known->text.size();
    Rendered more{rendered.text.substr(begin), {}};
    for (const text::TextRange& range : rendered.plain) {
      if (range.begin >= begin) more.plain.push_back({range.begin - begin, range.end - begin});
    }
    const auto rest = encode_rendered(tokenizer, more);
    if (!rest.empty() && !tokenizer.is_control(rest.front())) continue;
    std::vector<Token> tokens = known->tokens;
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    return tokens;
  }
  return encode_rendered(tokenizer, rendered);
}

Rendered ChatSession::rendered(const ToolUse* tools) {
  if (tools != nullptr) return tools->render(conversation_);
  if (!has_calls(conversation_.messages)) return render(*template_, session_.tokenizer(), conversation_);
  if (!calls_) calls_ = text::tool_format(*template_, session_.tokenizer());
  Conversation conversation = conversation_;
  add_tools(conversation, {}, *calls_ ? &**calls_ : nullptr);
  return render(*template_, session_.tokenizer(), conversation);
}

Result ChatSession::answer(const GenerateOptions& options, const TokenCallback& callback,
                           const ToolUse* tools) {
  Rendered rendered = this->rendered(tools);
  std::vector<Token> tokens = encode(rendered);
  GenerateOptions own = options;
  if (tools != nullptr) tools->hold(own, rendered.text);
  Result result = session_.generate(tokens, own, callback);
  if (result.text.empty() && result.finish == FinishReason::cancelled) return result;
  conversation_.messages.push_back(message("assistant", result.text));
  if (result.message) {
    Json& turn = conversation_.messages.back() = result.message->json();
    if (turn["content"].is_null()) turn["content"] = "";
  }
  answered_ = {};
  std::string spelled;
  for (const Token token : result.tokens) spelled += session_.tokenizer().piece(token, is_shown(own, token));
  if (spelled == result.text) {  // not where a stop string or an incomplete character was cut off
    answered_ = {rendered.text + spelled, tokens};
    answered_.tokens.insert(answered_.tokens.end(), result.tokens.begin(), result.tokens.end());
  }
  prompt_ = {std::move(rendered.text), std::move(tokens)};
  return result;
}

Result ChatSession::send(std::string_view user, const GenerateOptions& options, const TokenCallback& callback,
                         const ToolUse* tools) {
  return send_messages(Json::array({message("user", user)}), options, callback, tools);
}

Result ChatSession::send_messages(const Json& messages, const GenerateOptions& options,
                                  const TokenCallback& callback, const ToolUse* tools) {
  const Json more = checked_messages(messages);
  Json& all = conversation_.messages;
  const size_t before = all.size();
  all.insert(all.end(), more.begin(), more.end());
  const auto undo = [&] {
    while (all.size() > before) all.erase(all.size() - 1);
  };
  try {
    Result result = answer(options, callback, tools);
    if (all.size() == before + more.size()) undo();
    return result;
  } catch (...) {
    undo();
    throw;
  }
}

Result ChatSession::regenerate(const GenerateOptions& options, const TokenCallback& callback,
                               const ToolUse* tools) {
  Json& messages = conversation_.messages;
  const Json before = messages;
  if (!messages.empty() && has_role(messages.back(), "assistant")) messages.erase(messages.size() - 1);
  if (messages.empty() || !(has_role(messages.back(), "user") || has_role(messages.back(), "tool"))) {
    messages = before;
    fail(ErrorCode::invalid_argument, "there is no answer to generate again yet");
  }
  const size_t turns = messages.size();
  try {
    Result result = answer(options, callback, tools);
    if (messages.size() == turns) messages = before;
    return result;
  } catch (...) {
    messages = before;
    throw;
  }
}

}  // namespace cairn::llm
