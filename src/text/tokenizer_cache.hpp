#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.hpp"

namespace cairn::text {

// Words already encoded, for the length of one encode(): running text repeats its words.
class WordCache {
 public:
  // Appends the word's tokens to `out` when the word is known.
  bool append(std::string_view word, std::vector<Token>& out) const {
    const auto found = words_.find(word);
    if (found == words_.end()) return false;
    const auto begin = tokens_.begin() + found->second.begin;
    out.insert(out.end(), begin, begin + found->second.count);
    return true;
  }

  void insert(std::string_view word, std::span<const Token> tokens) {
    if (word.size() > max_word || words_.size() >= max_words) return;
    words_.emplace(word, Range{static_cast<uint32_t>(tokens_.size()), static_cast<uint32_t>(tokens.size())});
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }

 private:
  static constexpr size_t max_word = 64;        // longer ones hardly repeat
  static constexpr size_t max_words = 1 << 17;  // bounds the memory at about 20 MiB

  struct Range {
    uint32_t begin, count;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, Range, Hash, std::equal_to<>> words_;
  std::vector<Token> tokens_;
};

}  // namespace cairn::text
