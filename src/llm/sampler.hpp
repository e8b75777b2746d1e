#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

using text::Token;

// How the next token is chosen. The steps run in this order, which is transformers' (llama.cpp's is the same
// up to the place of the temperature, which it applies after the filters):
//   logit bias → repetition, then frequency and presence penalty → temperature → top-k → top-p → min-p →
//   draw.
struct SamplerOptions {
  float temperature = 0.8f;  // ≥ 0; 0 is greedy: the most likely token, the lowest id among equals
  uint32_t top_k = 40;       // keep the k most likely tokens; 0 keeps all
  float top_p = 0.95f;       // (0, 1]: keep the fewest tokens whose probabilities sum to top_p or more
  float min_p = 0.05f;       // [0, 1]: keep tokens at least min_p times as likely as the likeliest
  float repetition_penalty =
      1.0f;  // 0.01 … 100: seen tokens' logits are divided by it (multiplied where negative)
  float frequency_penalty = 0.0f;  // −1,000 … 1,000: subtracted from a logit for each time its token was seen
  float presence_penalty = 0.0f;  // −1,000 … 1,000: subtracted from the logit of a token that was seen
  uint32_t penalty_window = 64;   // the last tokens (prompt and answer) that penalties look at; 0 is all
  std::vector<std::pair<Token, float>> logit_bias;  // −10⁶ … 10⁶, added; −infinity bans
  std::optional<uint64_t> seed;                     // absent: a seed from the system

  // Error invalid_argument names the option, its value and its range.
  void validate(size_t vocabulary) const;
};

struct Candidate {
  Token token;
  float logit;
  float probability;
};

class Sampler {
 public:
  // vocabulary: tokens to choose from. Error invalid_argument as SamplerOptions::validate.
  Sampler(const SamplerOptions& options, size_t vocabulary);

  // logits: [vocabulary], all finite; overwritten. history: the tokens so far, oldest first; a prompt may
  // hold some that are not to choose from (padding of the model's vocabulary). Error invalid_argument when
  // biases and penalties leave no token or an infinite logit.
  Token sample(std::span<float> logits, std::span<const Token> history);

  // What sample() draws from: the tokens that are left and their probabilities, which sum to 1; the most
  // likely first if top-k or top-p is on. Valid until the next call.
  std::span<const Candidate> distribution(std::span<float> logits, std::span<const Token> history);

  const SamplerOptions& options() const noexcept { return options_; }

 private:
  void adjust(std::span<float> logits, std::span<const Token> history);
  void select(std::span<const float> logits);
  void select_top_k(std::span<const float> logits);
  double soften();
  void keep_top_p(double total);

  SamplerOptions options_;
  Random random_;
  std::vector<uint32_t> seen_;  // times each token occurs in the window; all zero between calls
  std::vector<float> block_maxima_;
  std::vector<Candidate> candidates_;
};

// The index of the greatest value, the lowest among equals; values must not be empty and hold no NaN.
size_t argmax(std::span<const float> values);
// The index of the first NaN or infinity.
std::optional<size_t> find_non_finite(std::span<const float> values);

}  // namespace cairn::llm
