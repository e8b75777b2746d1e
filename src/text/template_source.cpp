#include <algorithm>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "text/chat_template.hpp"

namespace cairn::text {
namespace {

// What base models with ChatML's tokens, and many fine-tunes without a template, are prompted with.
constexpr std::string_view chatml =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' "
    "+ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

// Gemma's turns, for its files that come without a template. A system message goes in front of the first
// turn.
constexpr std::string_view gemma =
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}{% if message['role'] == "
    "'system' "
    "%}{% set ns.system = ns.system + message['content'] + '\n\n' %}{% else %}{{ '<start_of_turn>' + "
    "('model' if "
    "message['role'] == 'assistant' else message['role']) + '\n' + ns.system + message['content'] | trim + "
    "'<end_of_turn>\n' }}{% set ns.system = '' %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<start_of_turn>model\n' }}{% endif %}";

// The vocabulary has both marks of a turn.
bool has_tokens(const gguf::File& file, std::string_view begin, std::string_view end) {
  const auto tokens = file.texts("tokenizer.ggml.tokens");
  const auto has = [&](std::string_view token) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  };
  return has(begin) && has(end);
}

}  // namespace

std::string chat_template_source(const gguf::File& file, std::string_view variant) {
  if (!variant.empty()) {
    const std::string key = fmt::format("tokenizer.chat_template.{}", variant);
    if (file.find(key)) return std::string(file.text(key));
  }
  if (file.find("tokenizer.chat_template")) return std::string(file.text("tokenizer.chat_template"));
  if (has_tokens(file, "<|im_start|>", "<|im_end|>")) return std::string(chatml);
  const bool is_gemma = file.text("general.architecture", "").starts_with("gemma");
  if (is_gemma && has_tokens(file, "<start_of_turn>", "<end_of_turn>")) return std::string(gemma);
  fail(ErrorCode::not_found, "{}: the model has no chat template (tokenizer.chat_template)", file.path());
}

nlohmann::ordered_json to_json(const std::vector<Message>& messages) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  return list;
}

}  // namespace cairn::text
