#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.hpp"

namespace cairn::text {

// Tokens that are looked for in the text before anything else: user-defined ones always, control ones when
// the caller asks. The leftmost match wins, the longest of those that start there, as in Hugging Face
// tokenizers and for SentencePiece's user-defined symbols.
class AddedTokens {
 public:
  // The text must outlive the object. Empty texts are ignored.
  void add(std::string_view text, Token token);
  // Once, after the last add().
  void finish();
  bool empty() const noexcept { return entries_.empty(); }

  // Calls visit(begin, bytes, Token) for each match, in order.
  template <class Visit>
  void each(std::string_view text, const Visit& visit) const {
    for (size_t at = 0; at < text.size();) {
      const Match match = longest(text.substr(at));
      if (match.bytes > 0) visit(at, match.bytes, match.token);
      at += std::max<size_t>(match.bytes, 1);
    }
  }

  // Calls plain(std::string_view) for each stretch between matches (never empty) and added(Token) for each
  // match, in order. Matches that reach into one of `kept` (in order) are none.
  template <class Plain, class Added>
  void split(std::string_view text, std::span<const TextRange> kept, const Plain& plain,
             const Added& added) const {
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      while (!kept.empty() && kept.front().end <= at) kept = kept.subspan(1);
      const Match match = longest(text.substr(at));
      if (match.bytes == 0 || (!kept.empty() && at + match.bytes > kept.front().begin)) {
        ++at;
        continue;
      }
      if (at > begin) plain(text.substr(begin, at - begin));
      added(match.token);
      begin = at += match.bytes;
    }
    if (begin < text.size()) plain(text.substr(begin));
  }

 private:
  struct Entry {
    std::string_view text;
    Token token;
  };
  struct Match {
    size_t bytes = 0;
    Token token = -1;
  };
  Match longest(std::string_view text) const {
    const auto lead = static_cast<unsigned char>(text[0]);
    if (first_[lead] == first_[lead + 1]) return {};
    return longest(text, first_[lead], first_[lead + 1]);
  }
  Match longest(std::string_view text, uint32_t begin, uint32_t end) const;

  std::vector<Entry> entries_;            // sorted by bytes
  std::array<uint32_t, 257> first_ = {};  // where the entries that start with a byte begin
};

}  // namespace cairn::text
