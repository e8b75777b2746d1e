#include "stack/token_weights.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cairn::stack {
namespace {

// Plain moments that are so many times those of the tokens that matter are of tokens that do not.
constexpr double kDecided = 2;

}  // namespace

TokenWeights::TokenWeights(size_t layers) : sums_(2 * layers * quantize::kInputs * kOctaves) {}

size_t TokenWeights::index(uint32_t layer, quantize::Input input, double square) {
  const int octave = square > 0 && std::isfinite(square) ? std::ilogb(square) - kLeast : 0;
  return (layer * quantize::kInputs + static_cast<size_t>(input)) * kOctaves +
         static_cast<size_t>(std::clamp(octave, 0, kOctaves - 1));
}

void TokenWeights::add(uint32_t layer, quantize::Input input, double square, double cost) {
  const size_t at = index(layer, input, square);
  sums_[at] += cost;
  sums_[count() + at] += 1;
}

std::vector<float> TokenWeights::weights() const {
  std::vector<float> weights(count(), 1.0f);
  for (size_t begin = 0; begin < count(); begin += kOctaves) {
    const auto costs = std::span(sums_).subspan(begin, kOctaves),
               tokens = std::span(sums_).subspan(count() + begin, kOctaves);
    const double cost = std::accumulate(costs.begin(), costs.end(), 0.0);
    const double all = std::accumulate(tokens.begin(), tokens.end(), 0.0);
    if (!(cost > 0) || !std::isfinite(cost)) continue;  // nothing was seen: all tokens alike
    const auto energy = [](size_t octave) { return std::ldexp(1.5, static_cast<int>(octave) + kLeast); };
    std::vector<size_t> seen;
    double usual = 0, plain = 0;
    for (size_t i = 0; i < kOctaves; ++i) {
      usual += costs[i] / cost * energy(i);
      plain += tokens[i] / all * energy(i);
      if (tokens[i] > 0) seen.push_back(i);
    }
    if (plain < kDecided * usual) continue;  // no few tokens that do not matter decide: all alike
    for (size_t i = 0; i < kOctaves; ++i) {  // what was not seen is like the nearest that was
      const size_t nearest = *std::min_element(seen.begin(), seen.end(), [&](size_t a, size_t b) {
        return std::max(a, i) - std::min(a, i) < std::max(b, i) - std::min(b, i);
      });
      const double mean = costs[nearest] / tokens[nearest] * all / cost;
      weights[begin + i] = static_cast<float>(std::max(mean, std::min(usual / energy(i), 1.0)));
    }
  }
  return weights;
}

float TokenWeights::of(uint32_t layer, quantize::Input input, double square) const {
  return weights_.empty() ? 1 : weights_[index(layer, input, square)];
}

std::vector<double> row_squares(const float* rows, size_t tokens, size_t width) {
  std::vector<double> squares(tokens);
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < width; ++i) {
      const auto x = static_cast<double>(rows[t * width + i]);
      squares[t] += x * x;
    }
  }
  return squares;
}

}  // namespace cairn::stack
