// text: tokenizers, chat templates.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::gguf {
class File;
}

namespace cairn::text {

using Token = int32_t;

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0, end = 0;
};

struct EncodeOptions {
  bool add_bos = true, add_eos = true;  // where the model's metadata asks for them
  bool parse_special = false;           // "<|im_start|>" in the text becomes its control token
  // … but not here; in order. The text is valid UTF-8 then.
  std::span<const TextRange> plain{};
};

// Turns text into token ids and back, as the model's metadata (tokenizer.ggml.*) prescribes: byte-level BPE
// ("gpt2" with a pre-tokenizer), SentencePiece-style ("llama", "gemma4") or WordPiece ("bert"). Immutable,
// safe to share between threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<Token> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // The bytes of one token as they appear in running text (control tokens give nothing unless `special`).
  virtual std::string piece(Token token, bool special = false) const = 0;
  virtual size_t vocabulary() const = 0;
  virtual std::string_view raw_token(Token token) const = 0;  // as stored in the vocabulary
  virtual std::optional<Token> find(std::string_view raw) const = 0;
  virtual std::optional<Token> bos() const = 0;
  virtual std::optional<Token> eos() const = 0;
  virtual bool is_end(Token token) const = 0;  // EOS, EOT, <|im_end|>, <end_of_turn>, ...
  virtual bool is_control(Token token) const = 0;
  // Where parse_special would find control tokens and ends of turns, in order.
  virtual std::vector<TextRange> control_ranges(std::string_view) const { return {}; }
  // One line of what the file leaves open and may be wrong; empty where nothing is.
  virtual std::string warning() const { return {}; }
  // The text of all tokens; a leading space that the encoder added is removed.
  std::string decode(std::span<const Token> tokens, bool special = false) const;

 protected:
  virtual bool adds_leading_space() const { return false; }  // encode() puts a space before the text
};

// Errors: unsupported (model or pre-tokenizer, named), format (metadata that contradicts itself).
std::unique_ptr<Tokenizer> make_tokenizer(const gguf::File& file);

// Bytes in, whole UTF-8 characters out: holds back an incomplete character until its bytes have come.
// Bytes that can never become a character come out as U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string finish();  // what is held back, as U+FFFD

 private:
  std::string pending_;
};

}  // namespace cairn::text
