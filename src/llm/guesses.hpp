#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.hpp"

namespace cairn::llm {

using text::Token;

// Where guesses of the next tokens come from, which one step checks all at once. A guess counts as far as the
// sampler takes the same tokens from the same logits, so that an answer is the same with and without, at
// every temperature: rejection sampling for a draft that is sure of itself (Leviathan 2022, arXiv
// 2211.17192).
enum class Speculation : uint8_t {
  none,
  lookup,  // what followed the same tokens earlier in the text
};

// Guesses what follows a text from the text itself: what followed its last three tokens, else its last two,
// when they stood there before (prompt lookup decoding; Saxena 2023).
class Lookup {
 public:
  void push(Token token);
  // At most so many tokens; valid until the next push.
  std::span<const Token> guess(size_t most) const;

 private:
  static constexpr size_t kLongest = 3, kShortest = 2;
  uint64_t key(size_t end, size_t n) const;  // of tokens [end − n, end)

  std::vector<Token> tokens_;
  std::unordered_map<uint64_t, uint32_t> follower_[kLongest + 1];  // by n: where the last one's follower is
};

// How many tokens to guess: as many as make the most tokens a second, by what was accepted and by what steps
// of one and of several tokens took; none for a while where guessing loses.
class DraftDepth {
 public:
  // For the next step: 0 … most guesses.
  size_t next(size_t most);
  // A step of 1 + guessed tokens took so long, and so many guesses were right.
  void learn(size_t guessed, size_t accepted, double seconds);

 private:
  double gain(size_t depth) const;  // over no guess: tokens a second

  double right_ = 0.6;   // share of guesses, each after right ones
  double single_ = 0;    // seconds of a step of one token; 0: not known
  double more_ = 0.15;   // what each token beyond the first adds, of `single_`
  uint32_t rest_ = 0;    // steps without a guess from now on
  uint32_t pause_ = 16;  // the next rest; longer each time in a row that guessing loses
};

// Both together, for one answer.
class Guesses {
 public:
  Guesses(Speculation kind, std::span<const Token> prompt);
  // Puts guesses behind tokens.back(), the text's last; up to `most` tokens with those that are there.
  void append(std::vector<Token>& tokens, size_t most);
  void push(Token token);  // the text goes on
  void learn(size_t guessed, size_t accepted, double seconds) { depth_.learn(guessed, accepted, seconds); }

 private:
  Speculation kind_;
  Lookup lookup_;
  DraftDepth depth_;
};

}  // namespace cairn::llm
