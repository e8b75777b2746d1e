#include "quantize/histogram.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace cairn::quantize {

void MagnitudeHistogram::merge(const MagnitudeHistogram& other) {
  for (uint32_t i = 0; i < kBins; ++i) counts_[i] += other.counts_[i];
}

void MagnitudeHistogram::clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
}

uint64_t MagnitudeHistogram::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
}

float MagnitudeHistogram::percentile(double percent) const {
  const auto all = static_cast<double>(total());
  const double wanted = all * percent / 100 * (1 - 1e-12);  // against the rounding of 99.99 / 100
  double below = 0;
  for (uint32_t i = 0; i < kBins; ++i) {
    const auto here = static_cast<double>(counts_[i]);
    if (here > 0 && below + here >= wanted) {
      const double part = std::clamp((wanted - below) / here, 0.0, 1.0);
      const double low = i == 0 ? 0 : static_cast<double>(edge(i)), high = static_cast<double>(edge(i + 1));
      return static_cast<float>(low + part * (high - low));
    }
    below += here;
  }
  return 0;
}

float MagnitudeHistogram::least_error_clip(float maximum) const {
  // Suffix sums give the clamped part; the rounded part is s² / 12 for each value but those that round to 0.
  std::vector<double> middle(kBins), count(kBins + 1), first(kBins + 1), second(kBins + 1);
  for (uint32_t i = kBins; i-- > 0;) {
    middle[i] = 0.5 * static_cast<double>((i == 0 ? 0.0f : edge(i)) + edge(i + 1));
    const auto n = static_cast<double>(counts_[i]);
    count[i] = count[i + 1] + n;
    first[i] = first[i + 1] + n * middle[i];
    second[i] = second[i + 1] + n * middle[i] * middle[i];
  }
  double least = std::numeric_limits<double>::infinity();
  float best = maximum;
  uint32_t zeros = 0;  // the bins that round to 0
  for (uint32_t i = 1; i <= kBins; ++i) {
    const float clip = i == kBins || edge(i) > maximum ? maximum : edge(i);
    const double t = static_cast<double>(clip), scale = t / 127;
    while (zeros < i && middle[zeros] < scale / 2) ++zeros;
    const double error = (second[0] - second[zeros]) + (count[zeros] - count[i]) * scale * scale / 12 +
                         (second[i] - 2 * t * first[i] + t * t * count[i]);
    if (error < least) {
      least = error;
      best = clip;
    }
    if (clip == maximum) break;
  }
  return best;
}

}  // namespace cairn::quantize
