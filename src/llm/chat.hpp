#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/session.hpp"
#include "text/chat_template.hpp"
#include "text/tool_format.hpp"

namespace cairn::llm {

class Model;
class ToolUse;

// A chat as the template sees it.
struct Conversation {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();  // of {"role": …, "content": …, …}
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  // more for the template: "tools", …
  bool sanitize = false;  // control tokens that users and tools write are plain text
  std::string begun{};    // what the answer begins with: the model goes on from there
};

struct Rendered {
  std::string text;
  std::vector<text::TextRange> plain;  // where it is not to be parsed for control tokens
};

// {"role": role, "content": content}; broken UTF-8 in the content becomes U+FFFD, as JSON needs.
nlohmann::ordered_json message(std::string_view role, std::string_view content);

// The text that the model continues with the assistant's next turn. Errors as text::ChatTemplate::render.
Rendered render(const text::ChatTemplate& chat_template, const text::Tokenizer& tokenizer,
                const Conversation& conversation);

// The tokens of a rendered text: its control tokens are parsed, and none is added, as transformers does
// (add_special_tokens=False): a template writes BOS where the model wants it.
std::vector<Token> encode_rendered(const text::Tokenizer& tokenizer, const Rendered& rendered);

// The tokens of a single prompt: as the user's turn of a chat if the model has a template of its own or there
// is a system message; else, or if `raw` is true, the text itself, to be continued: after BOS, if the model's
// metadata asks for it. sanitize: control tokens in the prompt are plain text. Errors: invalid_argument (a
// system message for raw text), as Model::chat_template.
std::vector<Token> encode_prompt(const Model& model, std::string_view prompt, std::string_view system,
                                 bool raw, bool sanitize = false);

// A chat whose turns share the session's KV cache: each turn prefills only what is new. The answer's own
// tokens stay in the cache even where the tokenizer would split its text otherwise.
class ChatSession {
 public:
  // The session must outlive the chat.
  ChatSession(Session& session, std::shared_ptr<const text::ChatTemplate> chat_template,
              std::string_view system = {});

  // Appends the user's turn, generates the assistant's and appends it, cut short or not. After an error, or
  // when it was cancelled before any text came, the chat is as it was before.
  // tools: that the answer may call; null: none.
  Result send(std::string_view user, const GenerateOptions& options, const TokenCallback& callback = {},
              const ToolUse* tools = nullptr);
  // The same with messages in place of the user's turn: results of tools, several turns. Error as
  // set_messages.
  Result send_messages(const nlohmann::ordered_json& messages, const GenerateOptions& options,
                       const TokenCallback& callback = {}, const ToolUse* tools = nullptr);
  // Generates another answer to the last turn of the user, or of tools. Error invalid_argument if there is
  // none.
  Result regenerate(const GenerateOptions& options, const TokenCallback& callback = {},
                    const ToolUse* tools = nullptr);

  void set_system(std::string_view system);  // replaces it; empty removes it
  void set_sanitize(bool sanitize) { conversation_.sanitize = sanitize; }
  void clear();  // forgets all turns, keeps the system message
  // Takes up a conversation: an array of {"role", "content"}; an assistant's that has "tool_calls" may be
  // without content. Error format names what is wrong.
  void set_messages(const nlohmann::ordered_json& messages);
  const Conversation& conversation() const noexcept { return conversation_; }
  // The conversation with the tokens that the model has read and written, to be taken up by another process:
  // {"messages": as set_messages takes them, "text", "tokens"}.
  nlohmann::ordered_json saved() const;
  // Takes that up; tokens that do not spell the text with this model are left out. Error as set_messages.
  void restore(const nlohmann::ordered_json& saved);

 private:
  Result answer(const GenerateOptions& options, const TokenCallback& callback, const ToolUse* tools);
  Rendered rendered(const ToolUse* tools);
  std::vector<Token> encode(const Rendered& rendered) const;

  Session& session_;
  std::shared_ptr<const text::ChatTemplate> template_;
  std::optional<std::optional<text::ToolFormat>> calls_;  // of the template, once it was looked for
  Conversation conversation_;
  struct Known {
    std::string text;
    std::vector<Token> tokens;
  };
  Known prompt_;    // the last prompt rendered
  Known answered_;  // … and the answer; empty when its tokens do not spell its text
};

}  // namespace cairn::llm
