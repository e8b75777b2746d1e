// tokenizer.model and what the files beside it add.
#include <algorithm>

#include "base/error.hpp"
#include "convert/sentencepiece_model.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr float kAddedScore = -1000, kUnusedScore = -10000;

class Vocabulary {
 public:
  Vocabulary(const TokenizerFiles& files, uint32_t size) : files_(files) {
    for (uint32_t i = 0; i < size; ++i) tokens_.texts.push_back(fmt::format("[PAD{}]", i));
    tokens_.scores.assign(size, kUnusedScore);
    tokens_.types.assign(size, TokenType::unused);
  }

  // Pieces beyond the vocabulary's size are passed over, as its embedding has no rows for them.
  void add_pieces() {
    const auto pieces = read_sentencepiece_model(files_.path("tokenizer.model"));
    for (size_t i = 0; i < std::min(pieces.size(), tokens_.texts.size()); ++i) {
      tokens_.texts[i] = pieces[i].text;
      tokens_.scores[i] = pieces[i].score;
      tokens_.types[i] = pieces[i].type;
    }
  }

  void add_added_tokens() {
    const auto added = find_json(files_.path("added_tokens.json"));
    if (!added) return;
    for (const auto& [text, id] : added->items())
      add(whole_number(id, UINT32_MAX, files_.path("added_tokens.json"), quote(text)), text,
          TokenType::user_defined);
  }

  // plain: a user's token is spelt with spaces, and some names make a control token.
  void add_list(const std::vector<AddedToken>& list, bool plain) {
    for (const AddedToken& token : list) {
      std::string text = token.text;
      const bool control = token.special || (plain && looks_special(text));
      if (plain && !control) {
        constexpr std::string_view kBlank = "\xE2\x96\x81";
        for (size_t at = text.find(kBlank); at != std::string::npos; at = text.find(kBlank, at + 1))
          text.replace(at, kBlank.size(), " ");
      }
      add(token.id, text, control ? TokenType::control : TokenType::user_defined);
    }
  }

  Tokens take() { return std::move(tokens_); }

 private:
  void add(uint64_t id, const std::string& text, TokenType type) {
    if (id >= tokens_.texts.size()) return;
    tokens_.texts[id] = text;
    tokens_.scores[id] = kAddedScore;
    tokens_.types[id] = type;
  }

  const TokenizerFiles& files_;
  Tokens tokens_;
};

// As a file has them, without what others say.
std::vector<AddedToken> listed(const std::optional<Json>& file, const char* list, const std::string& path) {
  TokenizerFiles alone = TokenizerFiles::none(path);
  (std::string_view(list) == "added_tokens" ? alone.tokenizer : alone.config) =
      Json{{list, file && member(*file, list) ? *member(*file, list) : Json()}};
  return added_tokens(alone);
}

}  // namespace

Tokens read_sentencepiece(const TokenizerFiles& files, uint32_t size, bool phi) {
  Vocabulary vocabulary(files, size);
  vocabulary.add_pieces();
  vocabulary.add_added_tokens();
  vocabulary.add_list(listed(files.config, "added_tokens_decoder", files.folder), !phi);
  if (phi) vocabulary.add_list(listed(files.tokenizer, "added_tokens", files.folder), false);
  return vocabulary.take();
}

}  // namespace cairn::convert
