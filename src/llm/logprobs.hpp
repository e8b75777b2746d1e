#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "llm/constraint.hpp"
#include "llm/sampler.hpp"

namespace cairn::llm {

// How likely a token was to the model itself: the logarithm of softmax over its logits, before biases,
// penalties and temperature, as OpenAI's API has it.
struct TokenLogprobs {
  struct Likely {
    Token token;
    float logprob;
  };
  Token token;
  float logprob;
  std::vector<Likely> top;  // the most likely first, of equals the lower id
};

// logits: [vocabulary], finite; top: how many of the most likely tokens to tell. A token outside of it has
// −infinity: padding, which a prompt may have and an answer never has.
TokenLogprobs logprobs_of(std::span<const float> logits, Token token, uint32_t top);

struct Drawn {
  Token token;
  std::optional<TokenLogprobs> logprobs;
};
// Sampler::sample of the tokens that may come, and how likely its token was if `top` is there. Absent:
// nothing may come any more, and the answer is whole. Errors: as Constraint and Sampler::sample.
std::optional<Drawn> draw(Sampler& sampler, Constraint& constraint, std::span<float> logits,
                          std::span<const Token> history, std::optional<uint32_t> top);

}  // namespace cairn::llm
