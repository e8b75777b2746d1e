#include "text/tokenizer.hpp"

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "text/tokenizer_kinds.hpp"

namespace cairn::text {

std::string Tokenizer::decode(std::span<const Token> tokens, bool special) const {
  std::string out;
  bool strip = adds_leading_space();
  for (Token token : tokens) {
    std::string text = piece(token, special);
    if (text.empty()) continue;
    if (strip && !is_control(token) && text.front() == ' ') text.erase(0, 1);
    strip = false;
    out += text;
  }
  return out;
}

std::unique_ptr<Tokenizer> make_tokenizer(const gguf::File& file) {
  const std::string_view model = file.text("tokenizer.ggml.model");
  if (model == "gpt2") return make_bpe_tokenizer(file);
  if (model == "llama" || model == "gemma4") return make_sentencepiece_tokenizer(file);
  if (model == "bert") return make_word_piece_tokenizer(file);
  fail(ErrorCode::unsupported, "{}: the tokenizer model '{}' is not known (gpt2, llama, bert and gemma4 are)",
       file.path(), model);
}

}  // namespace cairn::text
