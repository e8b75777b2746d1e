#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/engine.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

using text::Token;

// Where guesses of the next tokens come from, which one step checks all at once. A guess counts as far as the
// sampler takes the same tokens from the same logits, so that an answer is the same with and without, at
// every temperature: rejection sampling for a draft that is sure of itself (Leviathan 2022, arXiv
// 2211.17192).
enum class Speculation : uint8_t {
  none,
  lookup,     // what followed the same tokens earlier in the text
  draft,      // a small model's most likely tokens
  self,       // the model's own: a stack's with fewer of its bits, or those of a layer that predicts further
  automatic,  // lookup where it finds something, else the draft or the model itself where it can
};

// A share that is being counted: of the last `memory` events or so, after some that are supposed.
class Chance {
 public:
  explicit Chance(double supposed = 0.5, double weight = 3) : right_(supposed * weight), all_(weight) {}
  double value() const { return right_ / all_; }
  void learn(bool right) {
    constexpr double kKept = 1 - 1.0 / 32;
    right_ = right_ * kKept + (right ? 1 : 0);
    all_ = all_ * kKept + 1;
  }
  // What was counted so far says little about what comes.
  void doubt() {
    if (all_ <= kDoubted) return;
    right_ *= kDoubted / all_;
    all_ = kDoubted;
  }

 private:
  static constexpr double kDoubted = 3;
  double right_, all_;
};

// Guesses what follows a text from the text itself: what followed its last three tokens, else its last two,
// when they stood there before (prompt lookup decoding; Saxena 2023).
class Lookup {
 public:
  struct Found {
    std::span<const Token> tokens{};  // valid until the next push
    size_t match = 0;                 // so many tokens before them are those that the text ends with
  };
  static constexpr size_t kLongestMatch = 12;

  void push(Token token);
  Found guess(size_t most) const;  // at most so many tokens

 private:
  static constexpr size_t kLongest = 3, kShortest = 2;
  uint64_t key(size_t end, size_t n) const;  // of tokens [end − n, end)

  std::vector<Token> tokens_;
  std::unordered_map<uint64_t, uint32_t> follower_[kLongest + 1];  // by n: where the last one's follower is
};

// What a small model has read of a text; null: nothing yet. before: of one with a recurrent state, which does
// not go back a few steps, what it had read before it guessed.
struct DraftText {
  std::unique_ptr<engine::Sequence> sequence{}, before{};
  std::vector<Token> read{};
};

// What one text has for guessing, and what came of its guesses. A Speculator fills it.
class Guesses {
 public:
  Guesses(Speculation kind, std::span<const Token> prompt);
  Speculation kind() const noexcept { return kind_; }
  void push(Token token);  // the text goes on

  const std::vector<Token>& tokens() const noexcept { return tokens_; }  // of the next step
  // A step has checked so many of them, and so many were right.
  void learn(size_t checked, size_t accepted);

  // What a small model has read of the text, to be lent from one answer to the next.
  DraftText& draft_text() noexcept { return draft_text_; }

 private:
  friend class Speculator;
  void drop();  // the guesses
  static constexpr uint32_t kFirstPause = 16, kLongestPause = 256;
  static constexpr double kSure = 0.75;

  Speculation kind_;
  Lookup lookup_;
  std::array<Chance, Lookup::kLongestMatch + 1> matches_;  // by the length of the match
  DraftText draft_text_{};
  bool broken_ = false;         // the draft has failed: this text goes on without it
  std::vector<Chance> drafts_;  // by the speculator's drafts: that a token of theirs is right

  // The guesses of the step that comes.
  std::vector<Token> tokens_;
  std::vector<Chance*> chances_;       // of each: what learns whether it is right, and …
  std::array<Chance*, 2> of_draft_{};  // … of a draft's: those that learn it of all, here and anywhere
  bool trial_ = false;                 // made although it seems to lose
  uint32_t idle_ = 0;                  // steps without a guess, though there was one to make
  uint32_t pause_ = kFirstPause;       // … after so many one is tried; longer each time that it fails
};

}  // namespace cairn::llm
