#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cairn::text {

// A chat template in the Jinja dialect that model files use (tokenizer.chat_template). Parsed once, rendered
// often. Output equals jinja2's with transformers' settings (trim_blocks, lstrip_blocks, its filters, globals
// raise_exception and strftime_now, loop controls).
class ChatTemplate {
 public:
  // Error unsupported or format names the construct, its line and column.
  explicit ChatTemplate(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // variables: an object; usually messages (array), tools, add_generation_prompt, bos_token, eos_token, ...
  // Error invalid_argument carries the text of the template's own raise_exception.
  std::string render(const nlohmann::ordered_json& variables) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::text
