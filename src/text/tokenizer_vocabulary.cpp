#include "text/tokenizer_vocabulary.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/error.hpp"

namespace cairn::text {
namespace {

// Tokens that end a turn or a text, by the names that model families give them: a file's metadata names one
// EOS, but chat models stop with another.
constexpr std::array<std::string_view, 20> end_texts = {
    "<|endoftext|>",          // GPT-2, Qwen, SmolLM, Phi
    "<|im_end|>",             // ChatML
    "<|eot_id|>",             // Llama 3
    "<|eom_id|>",             // Llama 3, before a tool's answer
    "<|end_of_text|>",        // Llama 3, Granite
    "<|eot|>",                // Llama 4
    "<|eom|>",                // Llama 4
    "<end_of_turn>",          // Gemma
    "<turn|>",                // Gemma 4
    "<|end|>",                // Phi 3
    "<|end_of_turn|>",        // OpenChat, Starling
    "<|END_OF_TURN_TOKEN|>",  // Command R
    "<|return|>",             // gpt-oss
    "<|call|>",               // gpt-oss, before a tool's answer
    "<|observation|>",        // GLM-4, before a tool's answer
    "<end_of_utterance>",     // SmolVLM
    "[EOS]",
    "<EOT>",
    "<|EOT|>",  // DeepSeek Coder
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",  // DeepSeek
};

uint64_t hash(std::string_view text) {
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace

Vocabulary::Vocabulary(const gguf::File& file, const Defaults& defaults) : file_(file) {
  constexpr std::string_view key = "tokenizer.ggml.tokens";
  const gguf::Value* value = file_.find(key);
  if (!value) fail(ErrorCode::format, "{}: no {}: the file carries no vocabulary", file_.path(), key);
  tokens_ = std::get_if<std::vector<std::string_view>>(value);
  if (!tokens_ || tokens_->empty())
    fail(ErrorCode::format, "{}: {} must be a list of texts", file_.path(), key);
  if (tokens_->size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()) / 2)
    fail(ErrorCode::format, "{}: {} has {} entries, too many", file_.path(), key, tokens_->size());
  read_types();
  build_index();
  read_specials(defaults);
  read_ends();
}

void Vocabulary::read_types() {
  constexpr std::string_view key = "tokenizer.ggml.token_type";
  const std::vector<int64_t> numbers = file_.integers(key);
  if (numbers.empty()) return;
  if (numbers.size() != size())
    fail(ErrorCode::format, "{}: {} has {} entries for {} tokens", file_.path(), key, numbers.size(), size());
  types_.resize(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] < 0 || numbers[i] > 6)
      fail(ErrorCode::format, "{}: {}: token {} has type {}; types are 0 to 6", file_.path(), key, i,
           numbers[i]);
    types_[i] = static_cast<TokenType>(numbers[i]);
  }
}

void Vocabulary::set_type(Token token, TokenType type) {
  if (types_.empty()) types_.resize(size(), TokenType::normal);
  types_[static_cast<size_t>(token)] = type;
}

void Vocabulary::build_index() {
  index_.assign(std::bit_ceil(2 * size()), {0, -1});
  const size_t mask = index_.size() - 1;
  for (size_t i = 0; i < size(); ++i) {
    const uint64_t code = hash((*tokens_)[i]);
    const auto tag = static_cast<uint32_t>(code >> 32);
    size_t at = code & mask;
    while (index_[at].token >= 0 && (index_[at].tag != tag || text(index_[at].token) != (*tokens_)[i]))
      at = (at + 1) & mask;
    index_[at] = {tag, static_cast<Token>(i)};
  }
}

Token Vocabulary::find(std::string_view wanted) const noexcept {
  const uint64_t code = hash(wanted);
  const auto tag = static_cast<uint32_t>(code >> 32);
  const size_t mask = index_.size() - 1;
  for (size_t at = code & mask; index_[at].token >= 0; at = (at + 1) & mask) {
    if (index_[at].tag == tag && text(index_[at].token) == wanted) return index_[at].token;
  }
  return -1;
}

std::optional<Token> Vocabulary::read_id(std::string_view key) const {
  if (!file_.find(key)) return std::nullopt;
  const uint64_t id = file_.integer(key);
  // Files exist that write "none" as the largest 32-bit number.
  if (id == std::numeric_limits<uint32_t>::max()) return std::nullopt;
  if (id >= size())
    fail(ErrorCode::format, "{}: {} is {}, but the vocabulary has {} tokens", file_.path(), key, id, size());
  return static_cast<Token>(id);
}

void Vocabulary::read_specials(const Defaults& defaults) {
  const auto read = [&](std::string_view key, std::string_view otherwise) {
    std::optional<Token> token = read_id(key);
    if (!token && !otherwise.empty()) {
      const Token found = find(otherwise);
      if (found >= 0) token = found;
    }
    return token;
  };
  bos = read("tokenizer.ggml.bos_token_id", defaults.bos);
  eos = read("tokenizer.ggml.eos_token_id", defaults.eos);
  unknown = read("tokenizer.ggml.unknown_token_id", defaults.unknown);

  const auto adds = [&](std::string_view key, bool otherwise, const std::optional<Token>& token,
                        std::string_view what) {
    const bool told = file_.boolean(key, false);
    if (told && !token)
      fail(ErrorCode::format, "{}: {} is true, but no {} token is named", file_.path(), key, what);
    return file_.boolean(key, otherwise && token.has_value());
  };
  add_bos = adds("tokenizer.ggml.add_bos_token", defaults.add_bos, bos, "BOS");
  add_eos = adds("tokenizer.ggml.add_eos_token", defaults.add_eos, eos, "EOS");
}

void Vocabulary::read_ends() {
  if (eos) ends_.push_back(*eos);
  for (std::string_view key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (const auto id = read_id(key)) ends_.push_back(*id);
  }
  for (std::string_view name : end_texts) {
    const Token token = find(name);
    // A plain token that happens to be spelt so ends nothing; without types every token looks plain.
    if (token >= 0 && (!has_types() || type(token) != TokenType::normal)) ends_.push_back(token);
  }
  std::sort(ends_.begin(), ends_.end());
  ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
}

bool Vocabulary::is_end(Token token) const noexcept {
  return std::binary_search(ends_.begin(), ends_.end(), token);
}

void VocabularyTokenizer::check(Token token) const {
  if (!vocabulary_.contains(token))
    fail(ErrorCode::invalid_argument, "{} is no token: the vocabulary has {}", token, vocabulary_.size());
}

void VocabularyTokenizer::check_length(std::string_view text) {
  constexpr size_t limit = size_t{1} << 29;
  if (text.size() >= limit)
    fail(ErrorCode::invalid_argument, "a text of {} bytes is too long to tokenize; the limit is {}",
         text.size(), limit);
}

std::vector<TextRange> VocabularyTokenizer::control_matches(const AddedTokens& added,
                                                            std::string_view text) const {
  std::vector<TextRange> ranges;
  added.each(text, [&](size_t begin, size_t bytes, Token token) {
    if (is_control(token) || is_end(token)) ranges.push_back({begin, begin + bytes});
  });
  return ranges;
}

std::string_view VocabularyTokenizer::raw_token(Token token) const {
  check(token);
  return vocabulary_.text(token);
}

std::optional<Token> VocabularyTokenizer::find(std::string_view raw) const {
  const Token token = vocabulary_.find(raw);
  if (token < 0) return std::nullopt;
  return token;
}

bool VocabularyTokenizer::is_control(Token token) const {
  check(token);
  const TokenType type = vocabulary_.type(token);
  return type == TokenType::control || type == TokenType::unknown;
}

}  // namespace cairn::text
