#include "llm/logprobs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace cairn::llm {

TokenLogprobs logprobs_of(std::span<const float> logits, Token token, uint32_t top) {
  const float greatest = logits[argmax(logits)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  const double of_all = greatest + std::log(sum);
  const auto logprob = [&](Token one) {
    const auto at = static_cast<size_t>(one);
    return at < logits.size() ? static_cast<float>(logits[at] - of_all)
                              : -std::numeric_limits<float>::infinity();
  };
  TokenLogprobs result{token, logprob(token), {}};
  if (top == 0) return result;
  std::vector<Token> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + static_cast<ptrdiff_t>(std::min<size_t>(top, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](Token a, Token b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (auto at = order.begin(); at != end; ++at) result.top.push_back({*at, logprob(*at)});
  return result;
}

std::optional<Drawn> draw(Sampler& sampler, Constraint& constraint, std::span<float> logits,
                          std::span<const Token> history, std::optional<uint32_t> top) {
  std::vector<float> before;  // which mask and sampler overwrite
  if (top) before.assign(logits.begin(), logits.end());
  if (!constraint.mask(logits)) return std::nullopt;
  const Token token = sampler.sample(logits, history);
  constraint.push(token);
  if (!top) return Drawn{token, std::nullopt};
  return Drawn{token, logprobs_of(before, token, *top)};
}

}  // namespace cairn::llm
