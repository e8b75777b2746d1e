#include "text/tokenizer_added.hpp"

#include <algorithm>

namespace cairn::text {

void AddedTokens::add(std::string_view text, Token token) {
  if (!text.empty()) entries_.push_back({text, token});
}

void AddedTokens::finish() {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.text < b.text; });
  size_t at = 0;
  for (size_t byte = 0; byte <= 256; ++byte) {
    while (at < entries_.size() && static_cast<unsigned char>(entries_[at].text[0]) < byte) ++at;
    first_[byte] = static_cast<uint32_t>(at);
  }
}

// [begin, end) always holds the entries that agree with the text in their first `depth` bytes; sorted by
// bytes, one that ends there comes before the longer ones.
AddedTokens::Match AddedTokens::longest(std::string_view text, uint32_t begin, uint32_t end) const {
  Match best;
  for (size_t depth = 1; begin < end; ++depth) {
    for (; begin < end && entries_[begin].text.size() == depth; ++begin)
      best = {depth, entries_[begin].token};
    if (depth == text.size()) break;
    const auto wanted = static_cast<unsigned char>(text[depth]);
    const auto byte = [depth](const Entry& entry) { return static_cast<unsigned char>(entry.text[depth]); };
    const auto from = entries_.begin() + begin;
    const auto to = entries_.begin() + end;
    const auto low = std::lower_bound(from, to, wanted,
                                      [&](const Entry& entry, unsigned char b) { return byte(entry) < b; });
    const auto high = std::upper_bound(low, to, wanted,
                                       [&](unsigned char b, const Entry& entry) { return b < byte(entry); });
    begin = static_cast<uint32_t>(low - entries_.begin());
    end = static_cast<uint32_t>(high - entries_.begin());
  }
  return best;
}

}  // namespace cairn::text
