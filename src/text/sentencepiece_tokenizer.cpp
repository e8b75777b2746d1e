#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <deque>
#include <optional>
#include <unordered_map>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "text/bpe.hpp"
#include "text/bpe_merge.hpp"
#include "text/tokenizer_added.hpp"
#include "text/tokenizer_cache.hpp"
#include "text/tokenizer_kinds.hpp"
#include "text/tokenizer_vocabulary.hpp"

namespace cairn::text {
namespace {

constexpr std::string_view blank = "\xE2\x96\x81";  // U+2581, what SentencePiece writes for a space

void escape(std::string_view text, std::string& out) {
  out.reserve(out.size() + text.size() + text.size() / 2);
  for (char c : text) {
    if (c == ' ') {
      out.append(blank);
    } else {
      out.push_back(c);
    }
  }
}

// Where ranges of a text are once escape() has made each blank three bytes.
std::vector<TextRange> escaped_ranges(std::string_view text, std::span<const TextRange> ranges) {
  std::vector<TextRange> result;
  const auto place = [&](size_t at) {
    const auto blanks = static_cast<size_t>(std::ranges::count(text.substr(0, at), ' '));
    return at + blanks * (blank.size() - 1);
  };
  for (const TextRange& range : ranges) result.push_back({place(range.begin), place(range.end)});
  return result;
}

// "<0x0A>" → 10; -1 for anything else.
int byte_value(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  const int high = digit(token[3]), low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Vocabulary::Defaults defaults() {
  Vocabulary::Defaults result;
  result.add_bos = true;
  result.bos = "<s>";
  result.eos = "</s>";
  result.unknown = "<unk>";
  return result;
}

// SentencePiece's BPE ("llama"): spaces become U+2581, characters merge by the score of the result, and what
// is no token becomes its bytes' tokens or the unknown token. Gemma 4's ("gemma4") is the same with a list of
// merges in place of scores. Follows sentencepiece itself where Hugging
// Face's conversions differ from it (see docs/text.md).
class SentencePieceTokenizer final : public VocabularyTokenizer {
 public:
  explicit SentencePieceTokenizer(const gguf::File& file)
      : VocabularyTokenizer(file, defaults()),
        space_prefix_(file.boolean("tokenizer.ggml.add_space_prefix", true)) {
    if (file.text("tokenizer.ggml.model") == "gemma4") {
      merges_.emplace(vocabulary_);
    } else {
      read_scores();
    }
    read_tokens();
  }

  std::vector<Token> encode(std::string_view text, const EncodeOptions& options) const override {
    check_length(text);
    std::vector<Token> out;
    if (options.add_bos && vocabulary_.add_bos) out.push_back(*vocabulary_.bos);
    std::string buffer, escaped;
    escape(valid_utf8(text, buffer), escaped);
    Work work;
    bool prefix = space_prefix_;
    const AddedTokens& added = options.parse_special ? all_ : user_;
    added.split(
        escaped, escaped_ranges(text, options.plain),
        [&](std::string_view plain) {
          if (prefix) {
            work.prefixed.assign(blank).append(plain);
            plain = work.prefixed;
          }
          prefix = false;
          encode_plain(plain, work, out);
        },
        [&](Token token) {
          out.push_back(token);
          prefix = space_prefix_;
        });
    if (options.add_eos && vocabulary_.add_eos) out.push_back(*vocabulary_.eos);
    return out;
  }

  // As the text has them: a control token has no blank that escape() would change.
  std::vector<TextRange> control_ranges(std::string_view text) const override {
    return control_matches(all_, text);
  }

  std::string piece(Token token, bool special) const override {
    check(token);
    const std::string_view text = vocabulary_.text(token);
    const TokenType type = vocabulary_.type(token);
    if (type == TokenType::control || type == TokenType::unknown)
      return special ? std::string(text) : std::string();
    if (type == TokenType::byte) return std::string(1, static_cast<char>(byte_value(text)));
    std::string out;
    for (size_t i = 0; i < text.size();) {
      const bool space = text.substr(i, blank.size()) == blank;
      out.push_back(space ? ' ' : text[i]);
      i += space ? blank.size() : 1;
    }
    return out;
  }

 private:
  using Queue = MergeQueue<float>;
  using Symbol = Queue::Symbol;
  struct Work {
    Queue queue;
    WordCache cache;
    std::string prefixed;
    // Merges into tokens that must not come out: the text and the length of its left part.
    std::unordered_map<std::string_view, uint32_t> unused;
    std::vector<std::string_view> stack;
  };

  bool adds_leading_space() const override { return space_prefix_; }

  void read_scores() {
    constexpr std::string_view key = "tokenizer.ggml.scores";
    const std::vector<double> scores = vocabulary_.file().numbers(key);
    const std::string& path = vocabulary_.file().path();
    if (scores.size() != vocabulary_.size())
      fail(ErrorCode::format, "{}: {} has {} entries for {} tokens", path, key, scores.size(),
           vocabulary_.size());
    order_.reserve(scores.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!std::isfinite(scores[i])) fail(ErrorCode::format, "{}: {}: entry {} is not finite", path, key, i);
      order_.push_back(-static_cast<float>(scores[i]));
    }
  }

  void read_tokens() {
    byte_tokens_.fill(-1);
    const bool typed = vocabulary_.has_types();
    for (size_t i = 0; i < vocabulary_.size(); ++i) {
      const auto token = static_cast<Token>(i);
      const std::string_view text = vocabulary_.text(token);
      if (!typed) guess_type(token, text);
      switch (vocabulary_.type(token)) {
        case TokenType::user_defined:
          add(token, text, true);
          break;
        case TokenType::control:
        case TokenType::unknown:
          add(token, text, false);
          break;
        case TokenType::byte: {
          const int value = byte_value(text);
          if (value < 0)
            fail(ErrorCode::format, "{}: token {} ('{}') is of type byte, but spelt unlike '<0x0A>'",
                 vocabulary_.file().path(), i, text);
          byte_tokens_[static_cast<size_t>(value)] = token;
          break;
        }
        default:
          note_inner_blanks(text);
      }
    }
    user_.finish();
    all_.finish();
    for (Token token : byte_tokens_) byte_fallback_ &= token >= 0;
  }

  void guess_type(Token token, std::string_view text) {
    if (byte_value(text) >= 0) vocabulary_.set_type(token, TokenType::byte);
    if (token == vocabulary_.bos || token == vocabulary_.eos) vocabulary_.set_type(token, TokenType::control);
    if (token == vocabulary_.unknown) vocabulary_.set_type(token, TokenType::unknown);
  }

  // Matched in the escaped text: "  " in a file and two U+2581 in a text are the same.
  void add(Token token, std::string_view text, bool user) {
    if (text.find(' ') != std::string_view::npos) {
      std::string& escaped = spelt_.emplace_back();
      escape(text, escaped);
      text = escaped;
    }
    if (user) user_.add(text, token);
    all_.add(text, token);
  }

  // Text may be cut before a U+2581 unless a token has one right after the same byte: no merge crosses the
  // cut.
  void note_inner_blanks(std::string_view text) {
    for (size_t at = text.find(blank, 1); at != std::string_view::npos; at = text.find(blank, at + 1))
      joins_blank_.set(static_cast<unsigned char>(text[at - 1]));
  }

  void encode_plain(std::string_view text, Work& work, std::vector<Token>& out) const {
    const size_t first = out.size();
    while (!text.empty()) {
      const size_t end = word_end(text);
      const std::string_view word = text.substr(0, end);
      text.remove_prefix(end);
      const size_t begin = out.size();
      if (!work.cache.append(word, out)) {
        encode_word(word, work, out);
        work.cache.insert(word, std::span(out).subspan(begin));
      }
      // A run of unknown characters is one unknown token, also where a word ends inside it.
      if (begin > first && out.size() > begin && vocabulary_.unknown && out[begin] == *vocabulary_.unknown &&
          out[begin - 1] == *vocabulary_.unknown)
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(begin));
    }
  }

  size_t word_end(std::string_view text) const {
    for (size_t at = text.find(blank, 1); at != std::string_view::npos; at = text.find(blank, at + 1)) {
      const auto before = static_cast<unsigned char>(text[at - 1]);
      if (!joins_blank_[before]) return at;
    }
    return text.size();
  }

  void encode_word(std::string_view word, Work& work, std::vector<Token>& out) const {
    work.queue.clear();
    work.unused.clear();
    for (size_t i = 0; i < word.size();) {
      const size_t bytes = first_character(word.substr(i)).bytes;
      work.queue.append(static_cast<uint32_t>(i), static_cast<uint32_t>(bytes),
                        mergeable(word.substr(i, bytes)));
      i += bytes;
    }
    work.queue.merge([&](const Symbol& left, const Symbol& right) {
      if (merges_) {
        const auto found = left.token < 0 || right.token < 0 ? MergeTable::Queue::Candidate{0, -1}
                                                             : merges_->find(left.token, right.token);
        return Queue::Candidate{static_cast<float>(found.order), found.token};
      }
      const std::string_view text = word.substr(left.begin, left.bytes + right.bytes);
      const Token token = mergeable(text);
      if (token < 0) return Queue::Candidate{0, -1};
      if (vocabulary_.type(token) == TokenType::unused) work.unused[text] = left.bytes;
      return Queue::Candidate{order_[static_cast<size_t>(token)], token};
    });
    const size_t first = out.size();
    work.queue.each([&](const Symbol& symbol) {
      if (symbol.token >= 0 && vocabulary_.type(symbol.token) != TokenType::unused) {
        out.push_back(symbol.token);
      } else {
        emit(word.substr(symbol.begin, symbol.bytes), work, first, out);
      }
    });
  }

  // What is no token becomes its bytes, or the unknown token (one for a run of them since `first`). An unused
  // token gives way to the two that merged into it, and so on; one that is a single character stays. On a
  // stack of our own, because how deep that goes is up to the file.
  void emit(std::string_view symbol, Work& work, size_t first, std::vector<Token>& out) const {
    work.stack.assign(1, symbol);
    while (!work.stack.empty()) {
      const std::string_view text = work.stack.back();
      work.stack.pop_back();
      const Token token = mergeable(text);
      const bool unused = token >= 0 && vocabulary_.type(token) == TokenType::unused;
      const auto parts = unused ? work.unused.find(text) : work.unused.end();
      if (parts != work.unused.end()) {
        work.stack.push_back(text.substr(parts->second));
        work.stack.push_back(text.substr(0, parts->second));
      } else if (token >= 0) {
        out.push_back(token);
      } else if (byte_fallback_) {
        for (char c : text) out.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
      } else if (vocabulary_.unknown && (out.size() == first || out.back() != *vocabulary_.unknown)) {
        out.push_back(*vocabulary_.unknown);
      }
    }
  }

  // Tokens that text can become: not control, unknown or byte ones.
  Token mergeable(std::string_view text) const {
    const Token token = vocabulary_.find(text);
    if (token < 0) return -1;
    const TokenType type = vocabulary_.type(token);
    const bool reserved = type == TokenType::control || type == TokenType::unknown || type == TokenType::byte;
    return reserved ? -1 : token;
  }

  bool space_prefix_;
  bool byte_fallback_ = true;
  std::vector<float> order_;  // minus the scores
  std::optional<MergeTable> merges_;
  std::array<Token, 256> byte_tokens_;
  std::bitset<256> joins_blank_;
  std::deque<std::string> spelt_;  // what the added tokens with a space look like after escaping
  AddedTokens user_, all_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const gguf::File& file) {
  return std::make_unique<SentencePieceTokenizer>(file);
}

}  // namespace cairn::text
