#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quantize/scheme.hpp"

namespace cairn::stack {

// How much a token counts in the second moments of a layer's input: E[Σ (dL/dy)² | ‖x‖²] over its mean, y the
// outputs of the matrices that read x. Row importance times plain moments would take gradients and inputs for
// independent. They are not: the inputs of a text's first token may be a thousand times the others', and what
// is normalised afterwards hardly changes with them; alone they would decide the codes (Gemma 3's
// feed-forward part). GuidedQuant (arXiv 2505.07004) weighs each token by its own gradient; what a gradient
// that was sampled once says of one token is mostly noise, so here tokens of like ‖x‖² share what is seen. No
// token counts for less than as much of it as a usual one is large: what is let go altogether comes out so
// wrong at 2 bits that the first token of SmolLM2's texts no longer draws the attention that it should.
// Inputs whose plain moments are mostly of tokens that matter are left alone: weights there gain 4 to 8 % of
// SmolLM2's perplexity at 3 and 4 bits and lose a third at 2.
class TokenWeights {
 public:
  // All tokens alike.
  TokenWeights() = default;
  explicit TokenWeights(size_t layers);

  // A token with this ‖x‖² and this Σ (dL/dy)².
  void add(uint32_t layer, quantize::Input input, double square, double cost);
  // What was added, [2][layer][input][octave of ‖x‖²]; those of other tokens can be added to it.
  std::span<double> sums() { return sums_; }
  std::span<const double> sums() const { return sums_; }

  // [layer][input][octave]: of what was added the mean is 1, or a little more.
  std::vector<float> weights() const;
  void set_weights(std::vector<float> weights) { weights_ = std::move(weights); }
  size_t count() const { return sums_.size() / 2; }
  float of(uint32_t layer, quantize::Input input, double square) const;

 private:
  static constexpr int kLeast = -32, kOctaves = 80;
  static size_t index(uint32_t layer, quantize::Input input, double square);
  std::vector<double> sums_{};  // of costs, then how many tokens
  std::vector<float> weights_{};
};

// Σ x² of each row; rows: [tokens][width].
std::vector<double> row_squares(const float* rows, size_t tokens, size_t width);

}  // namespace cairn::stack
