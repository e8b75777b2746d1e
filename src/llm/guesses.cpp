#include "llm/guesses.hpp"

#include <algorithm>

namespace cairn::llm {
namespace {

// Of new evidence in an average: about the last 16 guesses and 8 steps count.
constexpr double kGuess = 1.0 / 16, kStep = 1.0 / 8;
constexpr uint32_t kLongestPause = 256;
constexpr double kWorthwhile = 1.02;

void blend(double& average, double value, double share) {
  average += share * (value - average);
}

}  // namespace

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

std::span<const Token> Lookup::guess(size_t most) const {
  for (size_t n = kLongest; n >= kShortest; --n) {
    if (tokens_.size() < n) continue;
    const auto found = follower_[n].find(key(tokens_.size(), n));
    if (found == follower_[n].end()) continue;
    const size_t count = std::min<size_t>(most, tokens_.size() - found->second);
    return std::span(tokens_).subspan(found->second, count);
  }
  return {};
}

double DraftDepth::gain(size_t depth) const {
  double tokens = 1, chance = 1;
  for (size_t i = 0; i < depth; ++i) tokens += chance *= right_;
  return tokens / (1 + more_ * static_cast<double>(depth));
}

size_t DraftDepth::next(size_t most) {
  if (rest_ > 0) {
    --rest_;
    return 0;
  }
  if (single_ == 0) return 0;  // a step without a guess comes first
  size_t best = 0;
  for (size_t depth = 1; depth <= most; ++depth) {
    if (gain(depth) > std::max(kWorthwhile, gain(best))) best = depth;
  }
  if (best == 0 && most > 0) {
    rest_ = pause_;
    pause_ = std::min(2 * pause_, kLongestPause);
    right_ = std::max(right_, more_ + 0.1);  // so that a short one is tried then
  }
  return best;
}

void DraftDepth::learn(size_t guessed, size_t accepted, double seconds) {
  if (guessed == 0) {
    if (single_ == 0) single_ = seconds;
    return blend(single_, seconds, kStep);
  }
  if (accepted == guessed) pause_ = 16;
  for (size_t i = 0; i < accepted; ++i) blend(right_, 1, kGuess);
  if (accepted < guessed) blend(right_, 0, kGuess);
  const double beyond = std::max(0.0, seconds / single_ - 1);
  blend(more_, beyond / static_cast<double>(guessed), kStep);
}

Guesses::Guesses(Speculation kind, std::span<const Token> prompt) : kind_(kind) {
  for (const Token token : prompt) push(token);
}

void Guesses::push(Token token) {
  if (kind_ == Speculation::lookup) lookup_.push(token);
}

void Guesses::append(std::vector<Token>& tokens, size_t most) {
  if (kind_ == Speculation::none || most <= tokens.size()) return;
  const std::span<const Token> found = lookup_.guess(most - tokens.size());
  if (found.empty()) return;
  const std::span<const Token> chosen = found.first(depth_.next(found.size()));
  tokens.insert(tokens.end(), chosen.begin(), chosen.end());
}

}  // namespace cairn::llm
