#pragma once

#include <cstdint>
#include <span>

namespace cairn::measure {

// What a row of logits says. Log-probabilities are natural logarithms: logits[v] − log_sum.
struct RowSummary {
  double log_sum;  // log Σ exp(logits); NaN if a logit is NaN or infinite
  int32_t best;    // index of the largest logit, the first of equals
};
RowSummary summarize(std::span<const float> logits);

// Kullback-Leibler divergence Σ p·(log p − log q) in nats, p and q the softmax of each row. The summaries are
// the rows' own.
double kl_divergence(std::span<const float> p_logits, const RowSummary& p, std::span<const float> q_logits,
                     const RowSummary& q);

}  // namespace cairn::measure
