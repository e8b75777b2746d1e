#include "llm/sampler.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.hpp"

namespace cairn::llm {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();
constexpr size_t kBlock = 64;  // logits that share one maximum in select_top_k

// A total order, so that the tokens kept do not depend on how the library partitions equal logits.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void check(bool valid, const char* option, double value, const char* range) {
  if (!valid) fail(ErrorCode::invalid_argument, "{} is {}, must be {}", option, value, range);
}

uint64_t system_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

// The greatest of up to kBlock values; several lanes, so that the loop becomes SIMD without reassociation.
float maximum(std::span<const float> values) {
  std::array<float, 16> lanes;
  lanes.fill(kBanned);
  size_t i = 0;
  for (; i + lanes.size() <= values.size(); i += lanes.size()) {
    for (size_t j = 0; j < lanes.size(); ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
  }
  for (; i < values.size(); ++i) lanes[0] = std::max(lanes[0], values[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

bool all_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000u;
  uint32_t found = 0;
  for (const float value : values)
    found |= (std::bit_cast<uint32_t>(value) & kExponent) == kExponent ? 1u : 0u;
  return found == 0;
}

}  // namespace

size_t argmax(std::span<const float> values) {
  const float greatest = maximum(values);
  return static_cast<size_t>(std::find(values.begin(), values.end(), greatest) - values.begin());
}

std::optional<size_t> find_non_finite(std::span<const float> values) {
  if (all_finite(values)) return std::nullopt;
  const auto found =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  return static_cast<size_t>(found - values.begin());
}

void SamplerOptions::validate(size_t vocabulary) const {
  check(std::isfinite(temperature) && temperature >= 0, "temperature", temperature, "finite and 0 or more");
  check(top_p > 0 && top_p <= 1, "top_p", top_p, "above 0 and at most 1");
  check(min_p >= 0 && min_p <= 1, "min_p", min_p, "between 0 and 1");
  check(repetition_penalty >= 0.01f && repetition_penalty <= 100, "repetition_penalty", repetition_penalty,
        "between 0.01 and 100");
  check(std::abs(frequency_penalty) <= 1000, "frequency_penalty", frequency_penalty,
        "between -1000 and 1000");
  check(std::abs(presence_penalty) <= 1000, "presence_penalty", presence_penalty, "between -1000 and 1000");
  for (const auto& [token, bias] : logit_bias) {
    if (token < 0 || static_cast<size_t>(token) >= vocabulary) {
      fail(ErrorCode::invalid_argument, "logit_bias names token {}, the vocabulary has {} tokens", token,
           vocabulary);
    }
    check(std::abs(bias) <= 1e6f || bias == kBanned, "logit_bias", bias,
          "between -1e6 and 1e6, or -infinity");
  }
}

Sampler::Sampler(const SamplerOptions& options, size_t vocabulary)
    : options_(options), random_(options.seed ? *options.seed : system_seed()) {
  options_.validate(vocabulary);
  const bool penalties =
      options_.repetition_penalty != 1 || options_.frequency_penalty != 0 || options_.presence_penalty != 0;
  if (penalties) seen_.resize(vocabulary);
}

void Sampler::adjust(std::span<float> logits, std::span<const Token> history) {
  for (const auto& [token, bias] : options_.logit_bias) logits[static_cast<size_t>(token)] += bias;
  if (seen_.empty()) return;
  if (options_.penalty_window != 0 && history.size() > options_.penalty_window) {
    history = history.last(options_.penalty_window);
  }
  const auto drawable = [this](Token token) { return static_cast<size_t>(token) < seen_.size(); };
  for (const Token token : history) {
    if (drawable(token)) ++seen_[static_cast<size_t>(token)];
  }
  for (const Token token : history) {
    if (!drawable(token)) continue;
    uint32_t& times = seen_[static_cast<size_t>(token)];
    if (times == 0) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logit -= static_cast<float>(times) * options_.frequency_penalty + options_.presence_penalty;
    times = 0;
  }
}

// The k-th greatest of the blocks' maxima is a lower bound for the k-th greatest logit: only the few blocks
// that reach it are looked at again, so a vocabulary of 262,144 costs little more than one pass over it.
void Sampler::select_top_k(std::span<const float> logits) {
  const size_t k = options_.top_k;
  const size_t blocks = (logits.size() + kBlock - 1) / kBlock;
  const auto block = [&](size_t b) {
    return logits.subspan(b * kBlock, std::min(kBlock, logits.size() - b * kBlock));
  };
  float bound = kBanned;
  block_maxima_.resize(blocks);
  for (size_t b = 0; b < blocks; ++b) block_maxima_[b] = maximum(block(b));
  if (k <= blocks) {
    std::vector<float> maxima = block_maxima_;
    std::nth_element(maxima.begin(), maxima.begin() + static_cast<ptrdiff_t>(k - 1), maxima.end(),
                     std::greater<>());
    bound = maxima[k - 1];
  }
  for (size_t b = 0; b < blocks; ++b) {
    if (block_maxima_[b] < bound || block_maxima_[b] == kBanned) continue;
    const auto values = block(b);
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] < bound || values[i] == kBanned) continue;
      candidates_.push_back({static_cast<Token>(b * kBlock + i), values[i], 0});
    }
  }
  if (candidates_.size() > k) {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k - 1),
                     candidates_.end(), likelier);
    candidates_.resize(k);
  }
  std::sort(candidates_.begin(), candidates_.end(), likelier);
}

void Sampler::select(std::span<const float> logits) {
  candidates_.clear();
  if (options_.top_k != 0 && options_.top_k < logits.size()) return select_top_k(logits);
  candidates_.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kBanned) candidates_.push_back({static_cast<Token>(i), logits[i], 0});
  }
}

// Sets probabilities relative to the likeliest token's, which becomes 1; returns their sum.
double Sampler::soften() {
  float greatest = kBanned;
  for (const Candidate& candidate : candidates_) greatest = std::max(greatest, candidate.logit);
  double total = 0;
  for (Candidate& candidate : candidates_) {
    candidate.probability = std::exp((candidate.logit - greatest) / options_.temperature);
    total += candidate.probability;
  }
  return total;
}

// Keeps the fewest of the likeliest candidates that hold top_p of the total; sorts no more of them than it
// must.
void Sampler::keep_top_p(double total) {
  const double wanted = static_cast<double>(options_.top_p) * total;
  double sum = 0;
  size_t kept = 0;
  size_t sorted = 0;
  while (kept < candidates_.size() && sum < wanted) {
    if (kept == sorted) {
      const auto first = candidates_.begin() + static_cast<ptrdiff_t>(sorted);
      sorted = std::min(candidates_.size(), std::max<size_t>(256, sorted * 8));
      const auto last = candidates_.begin() + static_cast<ptrdiff_t>(sorted);
      if (last != candidates_.end()) std::nth_element(first, last, candidates_.end(), likelier);
      std::sort(first, last, likelier);
    }
    sum += candidates_[kept++].probability;
  }
  candidates_.resize(std::max<size_t>(kept, 1));
}

std::span<const Candidate> Sampler::distribution(std::span<float> logits, std::span<const Token> history) {
  adjust(logits, history);
  const size_t best = argmax(logits);
  if (logits[best] == kBanned)
    fail(ErrorCode::invalid_argument, "logit_bias bans every token of the vocabulary");
  if (!std::isfinite(logits[best])) {
    fail(ErrorCode::invalid_argument, "logit_bias and repetition_penalty make the logit of token {} infinite",
         best);
  }
  if (options_.temperature == 0) {
    candidates_.assign(1, {static_cast<Token>(best), logits[best], 1});
    return candidates_;
  }
  select(logits);
  const double total = soften();
  if (options_.top_p < 1) keep_top_p(total);
  if (options_.min_p > 0) {
    std::erase_if(candidates_,
                  [&](const Candidate& candidate) { return candidate.probability < options_.min_p; });
  }
  double kept = 0;
  for (const Candidate& candidate : candidates_) kept += candidate.probability;
  for (Candidate& candidate : candidates_) {
    candidate.probability = static_cast<float>(candidate.probability / kept);
  }
  return candidates_;
}

Token Sampler::sample(std::span<float> logits, std::span<const Token> history) {
  const auto candidates = distribution(logits, history);
  if (candidates.size() == 1) return candidates.front().token;
  const double point = random_.uniform();
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += candidate.probability;
    if (point < sum) return candidate.token;
  }
  return candidates.back().token;  // rounding left the sum a hair below 1
}

}  // namespace cairn::llm
