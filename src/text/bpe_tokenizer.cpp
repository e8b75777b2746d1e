#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "text/bpe.hpp"
#include "text/pre_tokenizer.hpp"
#include "text/tokenizer_added.hpp"
#include "text/tokenizer_cache.hpp"
#include "text/tokenizer_kinds.hpp"

namespace cairn::text {
namespace {

constexpr std::string_view kPre = "tokenizer.ggml.pre";

// What models of a family were trained with, where all of them were; empty where that is not certain.
std::string_view family_pre_tokenizer(const gguf::File& file) {
  constexpr size_t kLlama3Tokens = 128256;  // other models of that architecture have other vocabularies
  const std::string_view family = file.text("general.architecture", "");
  if (family.starts_with("qwen2") || family == "qwen3" || family == "qwen3moe") return "qwen2";
  if (family == "gpt2" || family == "phi2") return "gpt-2";
  if (family == "llama" && file.texts("tokenizer.ggml.tokens").size() == kLlama3Tokens) return "llama-bpe";
  return {};
}

const PreTokenizerInfo& pre_tokenizer_info(const gguf::File& file) {
  std::string_view name = file.text(kPre, "");
  if (name.empty()) name = family_pre_tokenizer(file);
  if (name.empty()) name = "default";
  const PreTokenizerInfo* info = find_pre_tokenizer(name);
  if (!info) fail(ErrorCode::unsupported, "{}: the pre-tokenizer '{}' is not known", file.path(), name);
  return *info;
}

Vocabulary::Defaults defaults(const PreTokenizerInfo& info) {
  Vocabulary::Defaults result;
  result.add_bos = info.add_bos;
  return result;
}

// Unicode normalisation form C. The text is valid UTF-8, so only memory can lack.
std::string_view normalized(std::string_view text, std::string& buffer) {
  bool ascii = true;
  for (char c : text) ascii &= static_cast<unsigned char>(c) < 0x80;
  if (ascii) return text;
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &result, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (bytes < 0) fail(ErrorCode::out_of_memory, "normalising a text: {}", utf8proc_errmsg(bytes));
  buffer.assign(reinterpret_cast<const char*>(result), static_cast<size_t>(bytes));
  return buffer;
}

// Byte-level BPE ("gpt2"): control and added tokens are cut out, the rest is split into words by the
// pre-tokenizer, and the bytes of a word merge by rank.
class BpeTokenizer final : public VocabularyTokenizer {
 public:
  explicit BpeTokenizer(const gguf::File& file)
      : VocabularyTokenizer(file, defaults(pre_tokenizer_info(file))),
        info_(pre_tokenizer_info(file)),
        words_(info_.expressions),
        merges_(vocabulary_) {
    for (unsigned byte = 0; byte < 256; ++byte)
      byte_tokens_[byte] = vocabulary_.find(alphabet_.spelling(static_cast<unsigned char>(byte)));
    for (size_t i = 0; vocabulary_.has_types() && i < vocabulary_.size(); ++i) {
      const auto token = static_cast<Token>(i);
      const TokenType type = vocabulary_.type(token);
      if (type == TokenType::user_defined) user_.add(vocabulary_.text(token), token);
      if (type == TokenType::user_defined || type == TokenType::control || type == TokenType::unknown)
        all_.add(vocabulary_.text(token), token);
    }
    user_.finish();
    all_.finish();
  }

  std::vector<Token> encode(std::string_view text, const EncodeOptions& options) const override {
    check_length(text);
    std::vector<Token> out;
    if (options.add_bos && vocabulary_.add_bos) out.push_back(*vocabulary_.bos);
    std::string buffer;
    Work work;
    const AddedTokens& added = options.parse_special ? all_ : user_;
    added.split(
        valid_utf8(text, buffer), options.plain,
        [&](std::string_view plain) { encode_plain(plain, work, out); },
        [&](Token token) { out.push_back(token); });
    if (options.add_eos && vocabulary_.add_eos) out.push_back(*vocabulary_.eos);
    return out;
  }

  std::string warning() const override {
    const gguf::File& file = vocabulary_.file();
    if (file.find(kPre) || !family_pre_tokenizer(file).empty()) return {};
    return fmt::format(
        "{}: does not say how texts are cut into words ({} is missing): the model may get other and more "
        "tokens "
        "than it was trained on, and answer worse; convert it anew",
        file.path(), kPre);
  }

  std::vector<TextRange> control_ranges(std::string_view text) const override {
    return control_matches(all_, text);
  }

  std::string piece(Token token, bool special) const override {
    check(token);
    switch (vocabulary_.type(token)) {
      case TokenType::control:
      case TokenType::unknown:
        return special ? std::string(vocabulary_.text(token)) : std::string();
      case TokenType::user_defined:
        return std::string(vocabulary_.text(token));
      default:
        return alphabet_.bytes(vocabulary_.text(token));
    }
  }

 private:
  struct Work {
    MergeTable::Queue queue;
    WordCache cache;
    std::string buffer;
  };

  void encode_plain(std::string_view text, Work& work, std::vector<Token>& out) const {
    if (info_.normalize) text = normalized(text, work.buffer);
    for (std::string_view word : words_.split(text)) {
      if (work.cache.append(word, out)) continue;
      const size_t begin = out.size();
      encode_word(word, work.queue, out);
      work.cache.insert(word, std::span(out).subspan(begin));
    }
  }

  void encode_word(std::string_view word, MergeTable::Queue& queue, std::vector<Token>& out) const {
    if (info_.ignore_merges) {
      std::string spelt;
      for (char c : word) spelt.append(alphabet_.spelling(static_cast<unsigned char>(c)));
      const Token whole = vocabulary_.find(spelt);
      if (whole >= 0) {
        out.push_back(whole);
        return;
      }
    }
    queue.clear();
    for (size_t i = 0; i < word.size(); ++i) {
      // A byte that the vocabulary lacks is left out, as the reference does: SmolLM2 has no U+0004, say.
      const Token token = byte_tokens_[static_cast<unsigned char>(word[i])];
      if (token >= 0) queue.append(static_cast<uint32_t>(i), 1, token);
    }
    queue.merge([&](const auto& left, const auto& right) { return merges_.find(left.token, right.token); });
    queue.each([&](const auto& symbol) { out.push_back(symbol.token); });
  }

  const PreTokenizerInfo& info_;
  PreTokenizer words_;
  ByteAlphabet alphabet_;
  MergeTable merges_;
  std::array<Token, 256> byte_tokens_;
  AddedTokens user_, all_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const gguf::File& file) {
  return std::make_unique<BpeTokenizer>(file);
}

}  // namespace cairn::text
