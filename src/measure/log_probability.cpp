#include "measure/log_probability.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace cairn::measure {
namespace {

constexpr size_t kLanes = 16;

// exp(x) for x ≤ 0, relative error below 2e-7; tiny instead of 0 below −87. Vocabularies have up to 262,144
// entries, and std::exp keeps compilers from using vector instructions here.
inline float exp_nonpositive(float x) {
  x = x > -87.0F ? x : -87.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 · 2^23: adding it rounds to an integer
  const float n = (x * 1.44269504F + kRound) - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // x − n·ln 2, ln 2 in two parts
  float sum = 1.0F / 720;
  sum = sum * r + 1.0F / 120;
  sum = sum * r + 1.0F / 24;
  sum = sum * r + 1.0F / 6;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  return sum * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

// Σ term(i) for i in [0, count): 16 running sums in float over stretches short enough to lose nothing, then
// double.
template <class Term>
double sum_of(size_t count, Term term) {
  constexpr size_t kStretch = 64 * kLanes;
  double total = 0;
  for (size_t begin = 0; begin < count; begin += kStretch) {
    const size_t end = std::min(begin + kStretch, count);
    std::array<float, kLanes> sums{};
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += term(i + lane);
    }
    for (; i < end; ++i) sums[0] += term(i);
    for (const float sum : sums) total += static_cast<double>(sum);
  }
  return total;
}

}  // namespace

RowSummary summarize(std::span<const float> logits) {
  // x − x is 0 for numbers and NaN for what is none.
  const double strange = sum_of(logits.size(), [&](size_t i) { return logits[i] - logits[i]; });
  const auto best = std::max_element(logits.begin(), logits.end());
  if (!(strange == 0)) return {std::numeric_limits<double>::quiet_NaN(), 0};
  const float most = *best;
  const double sum = sum_of(logits.size(), [&](size_t i) { return exp_nonpositive(logits[i] - most); });
  return {static_cast<double>(most) + std::log(sum), static_cast<int32_t>(best - logits.begin())};
}

double kl_divergence(std::span<const float> p_logits, const RowSummary& p, std::span<const float> q_logits,
                     const RowSummary& q) {
  // Σ p·(log p − log q) = Σ p·(p_logit − q_logit) − (log_sum_p − log_sum_q)
  const float p_sum = static_cast<float>(p.log_sum);
  const double p_error = static_cast<double>(p_sum) - p.log_sum;
  const double offset = p.log_sum - q.log_sum;
  const double cross = sum_of(p_logits.size(), [&](size_t i) {
    const float difference = p_logits[i] - q_logits[i];
    // Taking the offset off first keeps the terms small: they all but cancel where p and q are close.
    return exp_nonpositive(std::min(p_logits[i] - p_sum, 0.0F)) * (difference - static_cast<float>(offset));
  });
  return cross * std::exp(p_error);
}

}  // namespace cairn::measure
