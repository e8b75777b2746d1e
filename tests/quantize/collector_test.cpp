#include "quantize/collector.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/expect_error.hpp"
#include "graph/families/families.hpp"
#include "support.hpp"

namespace cairn::quantize {
namespace {

using testing::expect_error;

constexpr std::array<uint32_t, kInputs> kWidths = {48, 64, 48, 96};
constexpr size_t kTokens = 40, kWindows = 5;

struct Windows {
  // [window] of [tokens][width], first tokens ten times as large.
  std::vector<std::vector<float>> rows;
  explicit Windows(uint32_t width, uint64_t seed) {
    for (size_t w = 0; w < kWindows; ++w) {
      rows.push_back(heavy_tailed(kTokens * width, seed + w));
      for (uint32_t i = 0; i < width; ++i) rows.back()[i] *= 10;
    }
  }
};

// All magnitudes of tokens from `skip` on, rotated if asked for.
std::vector<float> magnitudes(const Windows& windows, uint32_t width, uint32_t skip, bool rotated) {
  const Rotation rotation(width);
  std::vector<float> result, scratch(rotation.scratch_floats());
  for (std::vector<float> rows : windows.rows) {
    for (size_t token = skip; token < kTokens; ++token) {
      float* row = rows.data() + token * width;
      if (rotated) rotation.apply(row, scratch.data());
      for (uint32_t i = 0; i < width; ++i) result.push_back(std::abs(row[i]));
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

Calibration empty_calibration() {
  Calibration c;
  c.widths = kWidths;
  c.layers.resize(2);
  return c;
}

Calibration collect(size_t threads) {
  ThreadPool pool(threads);
  Calibration c = empty_calibration();
  const auto pass = [&](auto& collector) {
    for (size_t w = 0; w < kWindows; ++w) {
      for (size_t layer = 0; layer < 2; ++layer) {
        for (size_t i = 0; i < kInputs; ++i) {
          const Windows windows(kWidths[i], 100 * layer + 10 * i);
          collector.add(layer, static_cast<Input>(i), windows.rows[w].data(), kTokens);
        }
      }
    }
    collector.finish(c);
  };
  RangeCollector ranges(2, kWidths, pool);
  pass(ranges);
  OutlierCollector outliers(c, pool);
  pass(outliers);
  return c;
}

TEST(Collector, RangesAreThoseOfAllValues) {
  const Calibration c = collect(2);
  for (size_t layer = 0; layer < 2; ++layer) {
    for (size_t i = 0; i < kInputs; ++i) {
      const Windows windows(kWidths[i], 100 * layer + 10 * i);
      const InputRecord& record = c.layers[layer][i];
      for (size_t skip = 0; skip < kSkips.size(); ++skip) {
        for (size_t basis = 0; basis < kBases; ++basis) {
          const auto sorted = magnitudes(windows, kWidths[i], kSkips[skip], basis == 1);
          const Range& range = record.ranges[basis][skip];
          EXPECT_NEAR(range.maximum, sorted.back(), 1e-5f * sorted.back());
          for (size_t p = 0; p < kPercentiles.size(); ++p) {
            // The neighbours in rank, widened by the bins' width: far out the values are few.
            const double rank = kPercentiles[p] / 100 * static_cast<double>(sorted.size());
            const auto at = [&](double r) {
              return sorted[static_cast<size_t>(std::clamp(r, 0.0, static_cast<double>(sorted.size() - 1)))];
            };
            EXPECT_GE(range.percentiles[p], at(rank - 2) * 0.99f) << kPercentiles[p];
            EXPECT_LE(range.percentiles[p], at(rank + 1) * 1.01f) << kPercentiles[p];
          }
          EXPECT_GT(range.clip, 0);
          EXPECT_LE(range.clip, range.maximum);
        }
        std::vector<float> maxima(kWidths[i], 0);
        for (const auto& rows : windows.rows) {
          for (size_t token = kSkips[skip]; token < kTokens; ++token) {
            for (size_t k = 0; k < maxima.size(); ++k)
              maxima[k] = std::max(maxima[k], std::abs(rows[token * kWidths[i] + k]));
          }
        }
        EXPECT_EQ(record.channel_maxima[skip], maxima);
      }
    }
  }
}

TEST(Collector, OutliersAreCountedByChannelTokenAndWindow) {
  const Calibration c = collect(2);
  const size_t input = 3, width = kWidths[input];
  const Windows windows(static_cast<uint32_t>(width), 10 * input);
  const InputRecord& record = c.layers[0][input];
  for (size_t p = 0; p < kPercentiles.size(); ++p) {
    const float threshold = record.ranges[0][0].percentiles[p];
    std::vector<float> counts(width, 0);
    size_t touched = 0, all = 0;
    for (const auto& rows : windows.rows) {
      std::vector<bool> seen(width);
      for (size_t i = 0; i < rows.size(); ++i) {
        if (std::abs(rows[i]) <= threshold) continue;
        ++counts[i % width];
        ++all;
        seen[i % width] = true;
      }
      touched += static_cast<size_t>(std::count(seen.begin(), seen.end(), true));
    }
    const OutlierStatistics& o = record.outliers[0][p];
    EXPECT_EQ(o.counts, counts);
    EXPECT_FLOAT_EQ(o.channels_per_token, static_cast<float>(all) / (kTokens * kWindows));
    EXPECT_FLOAT_EQ(o.touched, static_cast<float>(touched) / static_cast<float>(kWindows * width));
    EXPECT_FLOAT_EQ(o.importance, record.ranges[0][0].maximum / (threshold / 127));
    EXPECT_DOUBLE_EQ(o.mass(width), 1);
    EXPECT_GE(o.mass(10), 10.0 / static_cast<double>(width));
  }
  // Rotated, outliers are fewer in any one channel but as many together.
  EXPECT_GT(record.outliers[1][0].channels_per_token, 0.3f);
}

TEST(Collector, AnyNumberOfThreadsCountsTheSame) {
  const Calibration one = collect(1), four = collect(4);
  for (size_t i = 0; i < kInputs; ++i) {
    EXPECT_EQ(one.layers[1][i].ranges[1][2].percentiles, four.layers[1][i].ranges[1][2].percentiles);
    EXPECT_EQ(one.layers[1][i].outliers[1][2].counts, four.layers[1][i].outliers[1][2].counts);
    EXPECT_EQ(one.layers[1][i].channel_maxima[1], four.layers[1][i].channel_maxima[1]);
  }
}

TEST(Collector, RefusesActivationsThatAreNoNumbers) {
  ThreadPool pool(1);
  RangeCollector collector(3, kWidths, pool);
  std::vector<float> rows(48 * 4, 1);
  rows[48 * 2 + 5] = std::numeric_limits<float>::infinity();
  expect_error(ErrorCode::numeric, "layer 2, gate_up: the activations of token 2",
               [&] { collector.add(2, Input::gate_up, rows.data(), 4); });
}

TEST(InputLinears, FindsTheFourInputsInEveryFamily) {
  for (const graph::Family& family : graph::families()) {
    // Calibration refuses these: compressed keys, and layers of a single part.
    if (family.latent || family.architecture.starts_with("nemotron_h")) continue;
    graph::HyperParameters p;
    p.architecture = family.architecture;
    p.layers = 2, p.embedding = 64, p.ffn = 128, p.vocabulary = 32, p.heads = 4, p.kv_heads = 2;
    p.head_size = 32;
    const graph::Model model = graph::build(p);
    const InputShape shape = input_shape(model);
    EXPECT_EQ(shape.widths, (std::array<uint32_t, kInputs>{64, 128, 64, 128})) << family.architecture;
    const bool gated = family.architecture != "phi2" && family.architecture != "bert";
    EXPECT_EQ(shape.outputs, (std::array<uint32_t, kInputs>{256, 64, gated ? 256u : 128u, 64}))
        << family.architecture;
  }
}

}  // namespace
}  // namespace cairn::quantize
