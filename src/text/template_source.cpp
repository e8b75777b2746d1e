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

bool speaks_chatml(const gguf::File& file) {
  const auto tokens = file.texts("tokenizer.ggml.tokens");
  return std::find(tokens.begin(), tokens.end(), "<|im_start|>") != tokens.end() &&
         std::find(tokens.begin(), tokens.end(), "<|im_end|>") != tokens.end();
}

}  // namespace

std::string chat_template_source(const gguf::File& file, std::string_view variant) {
  if (!variant.empty()) {
    const std::string key = fmt::format("tokenizer.chat_template.{}", variant);
    if (file.find(key)) return std::string(file.text(key));
  }
  if (file.find("tokenizer.chat_template")) return std::string(file.text("tokenizer.chat_template"));
  if (speaks_chatml(file)) return std::string(chatml);
  fail(ErrorCode::not_found, "{}: the model has no chat template (tokenizer.chat_template)", file.path());
}

nlohmann::ordered_json to_json(const std::vector<Message>& messages) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  return list;
}

}  // namespace cairn::text
