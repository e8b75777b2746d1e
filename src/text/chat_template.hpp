#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::gguf {
class File;
}

namespace cairn::text {

// A chat template in the Jinja dialect that model files use (tokenizer.chat_template). Parsed once, rendered
// often. Output equals jinja2's with transformers' settings (trim_blocks, lstrip_blocks, its filters, globals
// raise_exception and strftime_now, loop controls).
class ChatTemplate {
 public:
  // Where strftime_now takes the time from; empty: the system's clock.
  using Clock = std::function<std::chrono::system_clock::time_point()>;

  // Error unsupported or format names the construct, its line and column.
  explicit ChatTemplate(std::string_view source, Clock clock = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // variables: an object; usually messages (array), tools, add_generation_prompt, bos_token, eos_token, ...
  // Error invalid_argument carries the text of the template's own raise_exception; unsupported is for what
  // cairn does not know and for templates that run away (see jinja/limits.hpp). Both name line and column.
  // Safe to call from several threads at once.
  std::string render(const nlohmann::ordered_json& variables) const;

  const std::string& source() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The source of the model's chat template: tokenizer.chat_template.<variant> when a variant ("tool_use",
// "rag") is asked for and there, else tokenizer.chat_template, else ChatML when the vocabulary has
// <|im_start|> and
// <|im_end|>. Error not_found names the file.
std::string chat_template_source(const gguf::File& file, std::string_view variant = {});

// One turn of a conversation.
struct Message {
  std::string role;  // "system", "user", "assistant", "tool", ...
  std::string content;
};

// What templates expect under "messages": [{"role": ..., "content": ...}, ...].
nlohmann::ordered_json to_json(const std::vector<Message>& messages);

}  // namespace cairn::text
