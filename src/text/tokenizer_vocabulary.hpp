#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.hpp"
#include "text/tokenizer.hpp"
#include "text/tokenizer_added.hpp"

namespace cairn::text {

// tokenizer.ggml.token_type
enum class TokenType : uint8_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

// A model's tokens with their types and an index by text, and what its metadata says of the special ones.
// Texts are views into the mapped file, which the vocabulary keeps open.
class Vocabulary {
 public:
  // What holds where the metadata is silent.
  struct Defaults {
    bool add_bos = false;
    bool add_eos = false;
    // Looked up by text when the metadata names no id.
    std::string_view bos, eos, unknown;
  };

  // Errors: format (no tokens, arrays of different lengths, an id that is not in the vocabulary, a BOS that
  // is to be added but not named).
  Vocabulary(const gguf::File& file, const Defaults& defaults);

  const gguf::File& file() const noexcept { return file_; }
  size_t size() const noexcept { return tokens_->size(); }
  bool contains(Token token) const noexcept { return token >= 0 && static_cast<size_t>(token) < size(); }
  // token must be contained.
  std::string_view text(Token token) const { return (*tokens_)[static_cast<size_t>(token)]; }
  TokenType type(Token token) const {
    return types_.empty() ? TokenType::normal : types_[static_cast<size_t>(token)];
  }
  bool has_types() const noexcept { return !types_.empty(); }
  void set_type(Token token, TokenType type);

  // -1 when there is none; the last of several tokens with the same text.
  Token find(std::string_view text) const noexcept;

  std::optional<Token> bos, eos, unknown;
  bool add_bos = false, add_eos = false;
  bool is_end(Token token) const noexcept;

 private:
  struct Slot {
    uint32_t tag;
    Token token;
  };

  void build_index();
  void read_types();
  void read_specials(const Defaults& defaults);
  void read_ends();
  std::optional<Token> read_id(std::string_view key) const;

  gguf::File file_;
  const std::vector<std::string_view>* tokens_ = nullptr;
  std::vector<TokenType> types_;
  std::vector<Slot> index_;  // open addressing, a power of two in size, at most half full
  std::vector<Token> ends_;  // sorted
};

// The virtuals of Tokenizer that are look-ups in the vocabulary.
class VocabularyTokenizer : public Tokenizer {
 public:
  VocabularyTokenizer(const gguf::File& file, const Vocabulary::Defaults& defaults)
      : vocabulary_(file, defaults) {}

  size_t vocabulary() const override { return vocabulary_.size(); }
  std::string_view raw_token(Token token) const override;
  std::optional<Token> find(std::string_view raw) const override;
  std::optional<Token> bos() const override { return vocabulary_.bos; }
  std::optional<Token> eos() const override { return vocabulary_.eos; }
  bool is_end(Token token) const override { return vocabulary_.is_end(token); }
  bool is_control(Token token) const override;

 protected:
  // Tokenizer::control_ranges() by what the tokenizer looks for.
  std::vector<TextRange> control_matches(const AddedTokens& added, std::string_view text) const;
  // Error invalid_argument for a token that is not in the vocabulary.
  void check(Token token) const;
  // Error invalid_argument for a text of 512 MiB or more: positions are 32-bit numbers, and
  // escaping or normalising may make a text three times as long.
  static void check_length(std::string_view text);

  Vocabulary vocabulary_;
};

}  // namespace cairn::text
