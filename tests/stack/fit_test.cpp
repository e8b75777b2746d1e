#include "stack/fit.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>

#include "base/error.hpp"
#include "base/half.hpp"
#include "stack/avd.hpp"
#include "stack/fit_tables.hpp"
#include "stack/order.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

constexpr uint32_t kRows = 80, kColumns = 96;

// Second moments of correlated inputs: a smooth signal plus noise.
std::vector<float> moments(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> sum(kColumns * kColumns), x(kColumns);
  for (int sample = 0; sample < 400; ++sample) {
    float slow = 0;
    for (float& value : x) {
      slow = 0.9f * slow + normal(random);
      value = slow + 0.3f * normal(random);
    }
    for (size_t i = 0; i < kColumns; ++i) {
      for (size_t j = 0; j < kColumns; ++j) sum[i * kColumns + j] += x[i] * x[j] / 400;
    }
  }
  return sum;
}

std::vector<float> normal_matrix(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> weights(kRows * kColumns);
  for (float& w : weights) w = 0.05f * normal(random);
  return weights;
}

ThreadPool& single() {
  static ThreadPool one(1);
  return one;
}

// How far Tᵀ T is from H, of the mean of H's diagonal; what is fed back is T's columns by their pivots.
double worst_entry(const Factors& f) {
  const size_t n = f.width;
  const auto t = [&](size_t d, size_t i) { return d < i ? 0 : static_cast<double>(f.feedback.at(d, i)); };
  double worst = 0, mean = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(f.hessian.at(i, i)) / static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double product = 0;
      for (size_t d = 0; d < n; ++d) product += t(d, i) * t(d, j);
      worst = std::max(worst, std::abs(product - static_cast<double>(f.hessian.at(i, j))));
      if (i < j) {
        const double fed = static_cast<double>(f.feedback.at(i, j));
        EXPECT_NEAR(fed * t(j, j), t(j, i), 1e-6 * t(j, j)) << i << ", " << j;
      }
    }
  }
  return worst / mean;
}

// Of sizes that are no multiple of what is taken together.
TEST(Factors, OfManyColumnsOnAnyNumberOfThreads) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (const size_t n : {1, 63, 64, 66, 131, 197}) {
    SCOPED_TRACE(n);
    std::vector<float> inputs(2 * n * n), sum(n * n);
    for (float& x : inputs) x = normal(random);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        for (size_t s = 0; s < 2 * n; ++s) sum[i * n + j] += inputs[s * n + i] * inputs[s * n + j];
      }
    }
    ThreadPool three(3);
    const Factors f = factorize(sum, n, single()), other = factorize(sum, n, three);
    EXPECT_LT(worst_entry(f), 1e-6);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_FLOAT_EQ(f.hessian.at(i, 0), sum[i * n] + (i == 0 ? f.hessian.at(0, 0) - sum[0] : 0));
      for (size_t j = 0; j < n; ++j) ASSERT_EQ(f.feedback.at(i, j), other.feedback.at(i, j));
    }
  }
}

// Few directions hold nearly all, as of a text of fewer tokens than inputs: what is left is the damping.
TEST(Factors, OfFewDirections) {
  std::mt19937 random(12);
  std::normal_distribution<float> normal;
  constexpr size_t kWidth = 150, kSamples = 5;
  std::vector<float> inputs(kSamples * kWidth), sum(kWidth * kWidth);
  for (float& x : inputs) x = normal(random);
  for (size_t i = 0; i < kWidth; ++i) {
    for (size_t j = 0; j < kWidth; ++j) {
      for (size_t s = 0; s < kSamples; ++s)
        sum[i * kWidth + j] += inputs[s * kWidth + i] * inputs[s * kWidth + j];
    }
  }
  EXPECT_LT(worst_entry(factorize(sum, kWidth, single())), 1e-6);
  EXPECT_THROW(factorize(sum, kWidth, single(), -1), Error);
}

TEST(Factors, OfCorrelatedInputs) {
  EXPECT_LT(worst_entry(factorize(moments(1), kColumns, single())), 1e-6);
}

double loss(const FittedMatrix& m, const Tables& tables, const std::vector<float>& weights, const Factors& f,
            unsigned level, size_t row) {
  std::vector<double> e(kColumns);
  for (size_t c = 0; c < kColumns; ++c) {
    const unsigned code = m.codes[row * kColumns + c] >> (kPlanes - level);
    const double value =
        static_cast<double>(from_half(m.scales[level][row])) * tables.integers[table_offset(level) + code];
    e[c] = static_cast<double>(weights[row * kColumns + c]) - value;
  }
  double sum = 0;
  for (size_t i = 0; i < kColumns; ++i) {
    for (size_t j = 0; j < kColumns; ++j) sum += e[i] * static_cast<double>(f.hessian.at(i, j)) * e[j];
  }
  return sum;
}

TEST(Fit, ReportsTheLossOfWhatItWroteAndBeatsRounding) {
  ThreadPool pool(2);
  const Tables tables = gaussian_tables();
  const Factors factors = factorize(moments(3), kColumns, single());
  const Factors plain = identity_factors(kColumns);
  const std::vector<float> weights = normal_matrix(4);
  const FittedMatrix fitted = fit_matrix(weights, kRows, kColumns, factors, tables, {}, pool);
  const FittedMatrix rounded = fit_matrix(weights, kRows, kColumns, plain, tables, {}, pool);
  double before = 1e30;
  for (unsigned level = 1; level <= kPlanes; ++level) {
    double sum = 0, other = 0;
    for (size_t row = 0; row < kRows; ++row) {
      const double found = loss(fitted, tables, weights, factors, level, row);
      ASSERT_NEAR(static_cast<double>(fitted.losses[level][row]), found, 1e-3 * found + 1e-6);
      sum += found;
      other += loss(rounded, tables, weights, factors, level, row);
    }
    EXPECT_LT(sum, before) << level;
    // The finest level gives way to the others: its codes begin with the same bits.
    if (level < kPlanes) {
      EXPECT_LT(sum, 0.7 * other) << level;
    }
    before = sum;
  }
}

TEST(Fit, AnswersDoNotDependOnThreads) {
  ThreadPool one(1), two(2);
  const Tables tables = gaussian_tables();
  const Factors factors = factorize(moments(5), kColumns, single());
  const std::vector<float> weights = normal_matrix(6);
  EXPECT_EQ(fit_matrix(weights, kRows, kColumns, factors, tables, {}, one).codes,
            fit_matrix(weights, kRows, kColumns, factors, tables, {}, two).codes);
}

// What fit_matrix minimises, of rows that the tables have not seen.
double objective(const Tables& tables, const Factors& factors, ThreadPool& pool) {
  const FitOptions options;
  const FittedMatrix m = fit_matrix(normal_matrix(9), kRows, kColumns, factors, tables, options, pool);
  double sum = 0;
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (const float row : m.losses[k])
      sum += static_cast<double>(row * options.weights[k] / tables.distortion[k]);
  }
  return sum;
}

TEST(FitTables, LoseLessThanThoseOfANormalDistributionWhateverTheThreads) {
  ThreadPool one(1), two(2);
  const auto factors = std::make_shared<const Factors>(factorize(moments(7), kColumns, single()));
  std::vector<TableSample> samples;
  for (uint32_t seed = 20; seed < 28; ++seed) {
    const std::vector<float> weights = normal_matrix(seed);
    samples.push_back(
        {{weights.begin(), weights.begin() + 64 * kColumns}, std::vector<float>(64, 1.0f), factors});
  }
  const Tables normal = gaussian_tables();
  const Tables fitted = fit_tables(samples, normal, {}, two);
  EXPECT_EQ(fitted.integers, fit_tables(samples, normal, {}, one).integers);
  EXPECT_EQ(fit_tables(samples, normal, {.table_rounds = 0}, two).integers, normal.integers);
  for (unsigned k = 1; k <= kPlanes; ++k) {
    const size_t count = size_t{1} << k;
    const int8_t* values = fitted.integers.data() + table_offset(k);
    EXPECT_EQ(*std::max_element(values, values + count), 127) << k;
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(values[i], -values[count - 1 - i]) << "as likely with either sign";
      EXPECT_EQ(fitted.values[k][i], static_cast<float>(values[i]) * fitted.units[k]);
    }
  }
  EXPECT_LT(objective(fitted, *factors, two), 0.99 * objective(normal, *factors, two));
}

// Matrices of different widths: the bits are those of one thread, whatever the order.
TEST(FitTables, TellHowFarTheyAreAndStopWhereTheyAreTold) {
  ThreadPool one(1), two(2);
  std::vector<TableSample> samples;
  for (const size_t width : {kColumns / 2, kColumns, kColumns / 2}) {
    const std::vector<float> all = moments(7), weights = normal_matrix(static_cast<uint32_t>(20 + width));
    std::vector<float> part(width * width);
    for (size_t i = 0; i < width; ++i)
      std::copy_n(all.begin() + static_cast<ptrdiff_t>(i * kColumns), width,
                  part.begin() + static_cast<ptrdiff_t>(i * width));
    samples.push_back({{weights.begin(), weights.begin() + static_cast<ptrdiff_t>(64 * width)},
                       std::vector<float>(64, 1.0f),
                       std::make_shared<const Factors>(factorize(part, width, single()))});
  }
  std::vector<uint64_t> told;
  const auto listen = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 1000u);
    told.push_back(done);
  };
  const Tables fitted = fit_tables(samples, gaussian_tables(), {}, one, listen);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(told.front(), 0u);
  EXPECT_EQ(told.back(), 1000u);
  EXPECT_GE(std::set<uint64_t>(told.begin(), told.end()).size(), 3u * 7) << "every strip of every round";
  EXPECT_EQ(fitted.integers, fit_tables(samples, gaussian_tables(), {}, two, listen).integers);
  const auto stop = [](uint64_t done, uint64_t) {
    if (done > 300) throw std::runtime_error("enough");
  };
  EXPECT_THROW(fit_tables(samples, gaussian_tables(), {}, two, stop), std::runtime_error);
}

TEST(Order, KeepsLevelsInTurnAndTakesTheBestRateFirst) {
  // The second ladder's third level gains most for each byte, so its second comes along.
  const std::vector<Ladder> ladders = {
      {{1, 1, 1}, {10, 6, 5}}, {{1, 1, 1}, {20, 19, 9}}, {{1, 2, 1}, {3, 1, 0}}};
  const std::vector<Step> steps = order_steps(ladders);
  std::vector<std::pair<uint32_t, int>> found;
  for (const Step& step : steps) found.emplace_back(step.ladder, step.level);
  EXPECT_EQ(found, (std::vector<std::pair<uint32_t, int>>{
                       {0, 1}, {1, 1}, {2, 1}, {1, 2}, {1, 3}, {0, 2}, {2, 2}, {0, 3}, {2, 3}}));
  EXPECT_DOUBLE_EQ(steps[2].loss, 33);
  EXPECT_DOUBLE_EQ(steps.back().loss, 14);
  const std::vector<Step> by_level = order_by_level(ladders);
  found.clear();
  for (const Step& step : by_level) found.emplace_back(step.ladder, step.level);
  EXPECT_EQ(found, (std::vector<std::pair<uint32_t, int>>{
                       {0, 1}, {1, 1}, {2, 1}, {0, 2}, {2, 2}, {1, 2}, {1, 3}, {0, 3}, {2, 3}}));
}

TEST(Avd, BlocksSumToTheMatrixTheirLossesSay) {
  ThreadPool pool(2);
  const std::vector<float> weights = normal_matrix(7);
  std::vector<float> scales(kColumns);
  for (size_t c = 0; c < kColumns; ++c) scales[c] = 0.5f + static_cast<float>(c) / kColumns;
  std::vector<double> losses;
  const auto blocks = avd_blocks(weights, kRows, kColumns, scales, {.levels = 5}, pool, losses);
  ASSERT_EQ(blocks.size(), 5u);
  ASSERT_EQ(losses.size(), 6u);
  for (size_t count = 1; count <= blocks.size(); ++count) {
    AvdSum sum(kRows, kColumns);
    for (size_t i = 0; i < count; ++i) sum.add(blocks[i], static_cast<uint8_t>(i + 1), pool);
    const std::vector<float> restored = sum.take();
    double found = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const double e = static_cast<double>(weights[i] - restored[i]) *
                       static_cast<double>(from_half(to_half(scales[i % kColumns])));
      found += e * e;
    }
    EXPECT_NEAR(found, losses[count], 1e-3 * losses[count]);
    // A matrix of independent normal weights keeps 0.36, 0.13, … of its energy at most (rank 16 of 80 rows).
    EXPECT_LT(losses[count], 0.4 * losses[count - 1]) << count;
  }
}

TEST(Avd, AMatrixOfZerosGivesNoNumbersThatAreNone) {
  ThreadPool pool(1);
  std::vector<double> losses;
  const std::vector<float> zeros(32 * 64);
  const auto blocks = avd_blocks(zeros, 32, 64, {}, {.levels = 3}, pool, losses);
  AvdSum sum(32, 64);
  for (size_t i = 0; i < blocks.size(); ++i) sum.add(blocks[i], static_cast<uint8_t>(i + 1), pool);
  for (const float value : sum.take()) ASSERT_EQ(value, 0.0f);
}

}  // namespace
}  // namespace cairn::stack
