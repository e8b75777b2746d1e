#include "llm/guesses.hpp"

#include <algorithm>

namespace cairn::llm {

uint64_t Lookup::key(size_t end, size_t n) const {
  uint64_t hash = n;  // 21 bits a token: those of today's vocabularies, and a guess may be wrong
  for (size_t i = end - n; i < end; ++i) hash = hash << 21 ^ static_cast<uint32_t>(tokens_[i]);
  return hash;
}

void Lookup::push(Token token) {
  const size_t end = tokens_.size();
  for (size_t n = kShortest; n <= kLongest && n <= end; ++n)
    follower_[n][key(end, n)] = static_cast<uint32_t>(end);
  tokens_.push_back(token);
}

Lookup::Found Lookup::guess(size_t most) const {
  const size_t end = tokens_.size();
  for (size_t n = kLongest; n >= kShortest; --n) {
    if (end < n) continue;
    const auto found = follower_[n].find(key(end, n));
    if (found == follower_[n].end()) continue;
    const size_t at = found->second;
    size_t match = n;
    while (match < kLongestMatch && match < at && tokens_[at - match - 1] == tokens_[end - match - 1])
      ++match;
    return {std::span(tokens_).subspan(at, std::min(most, end - at)), match};
  }
  return {};
}

Guesses::Guesses(Speculation kind, std::span<const Token> prompt) : kind_(kind) {
  // The longer the match, the likelier the guess.
  for (size_t match = 0; match < matches_.size(); ++match)
    matches_[match] = Chance(match <= 2 ? 0.5 : match == 3 ? 0.6 : match < 6 ? 0.75 : 0.85, 2);
  for (const Token token : prompt) push(token);
}

void Guesses::push(Token token) {
  if (kind_ == Speculation::lookup || kind_ == Speculation::automatic) lookup_.push(token);
}

void Guesses::learn(size_t checked, size_t accepted) {
  const bool all_right = checked > 0 && accepted == checked;
  const auto learn = [&](Chance* chance, bool right) {
    if (chance == nullptr) return;
    if (trial_ && right) chance->doubt();
    chance->learn(right);
  };
  for (size_t i = 0; i < checked && i <= accepted; ++i) {
    learn(chances_[i], i < accepted);
    for (Chance* chance : of_draft_) learn(chance, i < accepted);
  }
  // A trial that was right is soon repeated, unless all are right and rows cost too much.
  const bool hopeful = all_right && chances_.front()->value() < kSure;
  if (hopeful || (all_right && !trial_)) pause_ = kFirstPause;
  if (trial_ && hopeful) idle_ = pause_;
  if (trial_ && !hopeful) pause_ = std::min(2 * pause_, kLongestPause);
  drop();
}

void Guesses::drop() {
  tokens_.clear();
  chances_.clear();
  of_draft_ = {};
  trial_ = false;
}

}  // namespace cairn::llm
