#include <algorithm>
#include <array>

#include "base/utf8.hpp"
#include "text/tokenizer_added.hpp"
#include "text/tokenizer_kinds.hpp"
#include "text/tokenizer_vocabulary.hpp"
#include "text/word_piece_normalizer.hpp"

namespace cairn::text {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581, before tokens that begin a word
constexpr size_t kMostCharacters = 100;              // of a word; longer ones are unknown

Vocabulary::Defaults defaults() {
  Vocabulary::Defaults result;
  result.add_bos = result.add_eos = true;
  result.bos = "[CLS]";
  result.eos = "[SEP]";
  result.unknown = "[UNK]";
  return result;
}

// BERT's WordPiece ("bert"): each word is cut into the longest tokens that it begins with, and is unknown as
// a whole where it cannot be. llama.cpp's converter writes U+2581 before what begins a word, and goes on
// without BERT's own "##" where it is continued.
class WordPieceTokenizer final : public VocabularyTokenizer {
 public:
  explicit WordPieceTokenizer(const gguf::File& file) : VocabularyTokenizer(file, defaults()) {
    normalizer_.lowercase = file.boolean("tokenizer.ggml.normalizer.lowercase", true);
    normalizer_.strip_accents =
        file.boolean("tokenizer.ggml.normalizer.strip_accents", normalizer_.lowercase);
    // Texts lie between these two, whatever the file says of others.
    if (const Token separator = read_separator(file); separator >= 0) vocabulary_.eos = separator;
    vocabulary_.add_bos = vocabulary_.bos.has_value();
    vocabulary_.add_eos = vocabulary_.eos.has_value();
    for (size_t i = 0; i < vocabulary_.size(); ++i) {
      const auto token = static_cast<Token>(i);
      const std::string_view text = vocabulary_.text(token);
      longest_ = std::max(longest_, text.size());
      const TokenType type = vocabulary_.type(token);
      if (type == TokenType::user_defined) {  // stands anywhere, though it is written as if it began a word
        const std::string_view plain = text.starts_with(kBlank) ? text.substr(kBlank.size()) : text;
        user_.add(plain, token);
        all_.add(plain, token);
      }
      if (type == TokenType::control || type == TokenType::unknown) all_.add(text, token);
    }
    user_.finish();
    all_.finish();
  }

  std::vector<Token> encode(std::string_view text, const EncodeOptions& options) const override {
    check_length(text);
    std::vector<Token> out;
    if (options.add_bos && vocabulary_.add_bos) out.push_back(*vocabulary_.bos);
    std::string buffer, word_buffer;
    const AddedTokens& added = options.parse_special ? all_ : user_;
    added.split(
        valid_utf8(text, buffer), options.plain,
        [&](std::string_view plain) {
          normalizer_.words(plain, [&](std::string_view word) { encode_word(word, word_buffer, out); });
        },
        [&](Token token) { out.push_back(token); });
    if (options.add_eos && vocabulary_.add_eos) out.push_back(*vocabulary_.eos);
    return out;
  }

  std::vector<TextRange> control_ranges(std::string_view text) const override {
    return control_matches(all_, text);
  }

  // Blanks between words are all that is known of them: texts come back small, without accents.
  std::string piece(Token token, bool special) const override {
    if (is_control(token)) return special ? std::string(vocabulary_.text(token)) : std::string();
    const std::string_view text = vocabulary_.text(token);
    return text.starts_with(kBlank) ? " " + std::string(text.substr(kBlank.size())) : std::string(text);
  }

 private:
  bool adds_leading_space() const override { return true; }

  Token read_separator(const gguf::File& file) const {
    constexpr const char* kKey = "tokenizer.ggml.seperator_token_id";  // as the format spells it
    if (file.find(kKey) == nullptr) return -1;
    const uint64_t id = file.integer(kKey);
    return id < vocabulary_.size() ? static_cast<Token>(id) : -1;
  }

  void encode_word(std::string_view word, std::string& buffer, std::vector<Token>& out) const {
    const size_t begin = out.size();
    const auto starts = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
    bool known = static_cast<size_t>(std::ranges::count_if(word, starts)) <= kMostCharacters;
    buffer.assign(kBlank).append(word);
    std::string_view rest = buffer;
    for (size_t least = kBlank.size(); known && !rest.empty(); least = 0) {
      size_t bytes = std::min(rest.size(), longest_);
      Token token = -1;
      for (; bytes > least && token < 0; --bytes) {
        if (bytes == rest.size() || starts(rest[bytes])) token = piece_token(rest.substr(0, bytes));
        if (token >= 0) break;
      }
      known = token >= 0;
      if (known) out.push_back(token);
      rest.remove_prefix(bytes);
    }
    if (known) return;
    out.resize(begin);
    if (vocabulary_.unknown) out.push_back(*vocabulary_.unknown);
  }

  // Tokens that text can become: not [MASK] and the like.
  Token piece_token(std::string_view text) const {
    const Token token = vocabulary_.find(text);
    if (token < 0) return -1;
    const TokenType type = vocabulary_.type(token);
    return type == TokenType::control || type == TokenType::unknown ? -1 : token;
  }

  WordPieceNormalizer normalizer_;
  size_t longest_ = 0;  // token, bytes
  AddedTokens user_, all_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_word_piece_tokenizer(const gguf::File& file) {
  return std::make_unique<WordPieceTokenizer>(file);
}

}  // namespace cairn::text
