#include "quantize/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support.hpp"

namespace cairn::quantize {
namespace {

TEST(Histogram, PercentilesAreThoseOfTheSortedValues) {
  const std::vector<float> values = heavy_tailed(200'000, 7);
  MagnitudeHistogram histogram;
  std::vector<float> sorted;
  for (const float x : values) {
    histogram.add(x);
    sorted.push_back(std::abs(x));
  }
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(histogram.total(), values.size());
  for (const double percent : {50.0, 99.0, 99.7, 99.9, 99.99}) {
    const float exact =
        sorted[static_cast<size_t>(std::lround(percent / 100 * static_cast<double>(sorted.size()))) - 1];
    EXPECT_NEAR(histogram.percentile(percent), exact, 0.008f * exact) << percent;
  }
  EXPECT_EQ(MagnitudeHistogram().percentile(99), 0);
}

TEST(Histogram, TheEndsHoldWhatIsBeyondThem) {
  MagnitudeHistogram histogram;
  histogram.add(0);
  histogram.add(-1e-30f);
  histogram.add(1e30f);
  EXPECT_EQ(histogram.counts().front(), 2U);
  EXPECT_EQ(histogram.counts().back(), 1U);
}

TEST(Histogram, MergesAndClears) {
  MagnitudeHistogram a, b, both;
  for (const float x : heavy_tailed(1000, 1)) a.add(x), both.add(x);
  for (const float x : heavy_tailed(500, 2)) b.add(x), both.add(-x);
  a.merge(b);
  EXPECT_EQ(a, both);
  a.clear();
  EXPECT_EQ(a, MagnitudeHistogram());
}

double squared_error(const std::vector<float>& values, float clip) {
  double error = 0;
  const float scale = clip / 127;
  for (const float x : values) {
    const double rounded = static_cast<double>(std::clamp(std::round(x / scale), -127.0f, 127.0f) * scale);
    error += (static_cast<double>(x) - rounded) * (static_cast<double>(x) - rounded);
  }
  return error;
}

TEST(Histogram, TheClipHasTheLeastSquaredError) {
  for (const uint64_t seed : {3, 4}) {
    const std::vector<float> values = heavy_tailed(20'000, seed);
    MagnitudeHistogram histogram;
    float maximum = 0;
    for (const float x : values) {
      histogram.add(x);
      maximum = std::max(maximum, std::abs(x));
    }
    const float clip = histogram.least_error_clip(maximum);
    double least = squared_error(values, maximum);
    for (float t = maximum; t > maximum / 500; t *= 0.97f) least = std::min(least, squared_error(values, t));
    EXPECT_LE(squared_error(values, clip), 1.02 * least);
    EXPECT_LE(clip, maximum);
  }
  MagnitudeHistogram even;  // nothing is won by clamping
  for (int i = 1; i <= 1000; ++i) even.add(static_cast<float>(i) / 1000);
  EXPECT_NEAR(even.least_error_clip(1), 1, 0.02);
}

}  // namespace
}  // namespace cairn::quantize
