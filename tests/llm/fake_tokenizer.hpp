#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "text/tokenizer.hpp"

namespace cairn::llm::fake {

using text::Token;

constexpr Token kBos = 256, kEnd = 257, kUser = 258, kAssistant = 259;

// A byte is its own token; control tokens follow, then the given pieces, which the encoder prefers to bytes.
class Tokenizer : public text::Tokenizer {
 public:
  explicit Tokenizer(std::vector<std::string> pieces = {}, bool has_bos = true) : has_bos_(has_bos) {
    for (int byte = 0; byte < 256; ++byte) raw_.emplace_back(1, static_cast<char>(byte));
    for (const char* control : {"<s>", "<|end|>", "<|user|>", "<|assistant|>"}) raw_.emplace_back(control);
    raw_.insert(raw_.end(), pieces.begin(), pieces.end());
  }

  std::vector<Token> encode(std::string_view text, const text::EncodeOptions& options = {}) const override {
    std::vector<Token> tokens;
    if (options.add_bos && has_bos_) tokens.push_back(kBos);
    const std::string_view all = text;
    while (!text.empty()) {
      const auto at = static_cast<size_t>(text.data() - all.data());
      const bool plain = std::any_of(options.plain.begin(), options.plain.end(),
                                     [&](const text::TextRange& r) { return r.begin <= at && at < r.end; });
      Token best = static_cast<unsigned char>(text.front());
      for (Token token = options.parse_special && !plain ? kBos : kAssistant + 1;
           token < static_cast<Token>(raw_.size()); ++token) {
        const std::string_view candidate = raw_token(token);
        if (text.starts_with(candidate) && candidate.size() > raw_token(best).size()) best = token;
      }
      tokens.push_back(best);
      text.remove_prefix(raw_token(best).size());
    }
    return tokens;
  }

  std::string piece(Token token, bool special = false) const override {
    return is_control(token) && !special ? std::string() : std::string(raw_token(token));
  }
  size_t vocabulary() const override { return raw_.size(); }
  std::string_view raw_token(Token token) const override { return raw_.at(static_cast<size_t>(token)); }
  std::optional<Token> find(std::string_view raw) const override {
    for (size_t i = 0; i < raw_.size(); ++i) {
      if (raw_[i] == raw) return static_cast<Token>(i);
    }
    return std::nullopt;
  }
  std::optional<Token> bos() const override { return has_bos_ ? std::optional(kBos) : std::nullopt; }
  std::optional<Token> eos() const override { return kEnd; }
  bool is_end(Token token) const override { return token == kEnd; }
  std::vector<text::TextRange> control_ranges(std::string_view text) const override {
    std::vector<text::TextRange> ranges;
    for (size_t at = 0; at < text.size(); ++at) {
      for (Token token = kBos; token <= kAssistant; ++token) {
        if (text.substr(at).starts_with(raw_token(token)))
          ranges.push_back({at, at + raw_token(token).size()});
      }
    }
    return ranges;
  }
  bool is_control(Token token) const override { return token >= kBos && token <= kAssistant; }

 private:
  std::vector<std::string> raw_;
  bool has_bos_;
};

}  // namespace cairn::llm::fake
