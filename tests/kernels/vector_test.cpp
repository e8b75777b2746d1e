// The float kernels between products, against plain double precision, on every instruction
// set.
#include "kernels/vector.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::kernels {
namespace {

std::vector<float> random_floats(size_t n, uint32_t seed, float range = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random);
  return x;
}

class Vectors : public testing::TestWithParam<Target> {
 protected:
  const VectorKernels& vector_ = kernel_set(GetParam()).vector;
  const size_t lanes_ = kernel_set(GetParam()).gemm.tile_tokens;

  // A token's column of a tile.
  std::vector<float> column(const std::vector<float>& tile, size_t lane) const {
    std::vector<float> x;
    for (size_t i = lane; i < tile.size(); i += lanes_) x.push_back(tile[i]);
    return x;
  }
};

TEST_P(Vectors, ActivationsMatchTheirDefinitions) {
  std::vector<float> x = random_floats(1001, 1, 12);
  x[0] = 0, x[1] = -90, x[2] = 90;
  std::vector<float> y(x.size());
  const auto check = [&](const char* what, auto&& expected) {
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(y[i], expected(x[i]), 2e-6 * (1 + std::abs(x[i]))) << what << x[i];
  };
  vector_.activate(Unary::silu, x.data(), x.size(), y.data());
  check("silu", [](double v) { return v / (1 + std::exp(-v)); });
  vector_.activate(Unary::gelu_tanh, x.data(), x.size(), y.data());
  check("gelu_tanh",
        [](double v) { return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))); });
  vector_.activate(Unary::gelu_erf, x.data(), x.size(), y.data());
  check("gelu_erf", [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
  vector_.softcap(x.data(), 5, x.size(), y.data());
  check("softcap", [](double v) { return 5 * std::tanh(v / 5); });
  const std::vector<float> up = random_floats(x.size(), 2);
  vector_.gate(Unary::silu, x.data(), up.data(), x.size(), y.data());
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(y[i], x[i] / (1 + std::exp(-static_cast<double>(x[i]))) * up[i], 3e-5);
  vector_.gate(Unary::sigmoid, x.data(), up.data(), x.size(), y.data());
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(y[i], up[i] / (1 + std::exp(-static_cast<double>(x[i]))), 1e-6);
  vector_.gate(Unary::none, x.data(), up.data(), x.size(), y.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], x[i] * up[i]);
}

TEST_P(Vectors, NormsOfTokensAndTilesAgreeWithDoublePrecision) {
  for (const size_t n : {16, 33, 576}) {
    const std::vector<float> tile = random_floats(n * lanes_, 3), weight = random_floats(n, 4),
                             bias = random_floats(n, 5);
    std::vector<float> rms(tile.size()), layer(tile.size()), token(n);
    vector_.tile_norm_rms(tile.data(), weight.data(), 1e-5f, n, rms.data());
    vector_.tile_norm_layer(tile.data(), weight.data(), bias.data(), 1e-5f, n, layer.data());
    for (size_t lane = 0; lane < lanes_; ++lane) {
      const std::vector<float> x = column(tile, lane);
      double mean = 0, squares = 0, variance = 0;
      for (const float v : x)
        mean += v / static_cast<double>(n), squares += static_cast<double>(v) * v / static_cast<double>(n);
      for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
      const auto rms_of = [&](size_t i) { return x[i] / std::sqrt(squares + 1e-5) * weight[i]; };
      const auto layer_of = [&](size_t i) {
        return (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
      };
      for (size_t i = 0; i < n; ++i) {
        EXPECT_NEAR(rms[i * lanes_ + lane], rms_of(i), 1e-5);
        EXPECT_NEAR(layer[i * lanes_ + lane], layer_of(i), 1e-5);
      }
      vector_.token_norm_rms(x.data(), weight.data(), 1e-5f, n, token.data());
      for (size_t i = 0; i < n; ++i) EXPECT_NEAR(token[i], rms_of(i), 1e-5);
      vector_.token_norm_layer(x.data(), weight.data(), bias.data(), 1e-5f, n, token.data());
      for (size_t i = 0; i < n; ++i) EXPECT_NEAR(token[i], layer_of(i), 1e-5);
    }
  }
}

TEST_P(Vectors, RopeTurnsPairs) {
  const size_t dims = 12, n = 16;
  for (const bool neox : {false, true}) {
    std::vector<float> x = random_floats(n, 6), tile(n * lanes_), cosines(dims / 2), sines(dims / 2);
    std::vector<float> tile_cosines(dims / 2 * lanes_), tile_sines(dims / 2 * lanes_);
    for (size_t i = 0; i < dims / 2; ++i) {
      cosines[i] = std::cos(0.3f * static_cast<float>(i + 1)),
      sines[i] = std::sin(0.3f * static_cast<float>(i + 1));
      for (size_t lane = 0; lane < lanes_; ++lane)
        tile_cosines[i * lanes_ + lane] = cosines[i], tile_sines[i * lanes_ + lane] = sines[i];
    }
    for (size_t i = 0; i < n; ++i)
      for (size_t lane = 0; lane < lanes_; ++lane) tile[i * lanes_ + lane] = x[i];
    std::vector<double> expected(x.begin(), x.end());
    for (size_t i = 0; i < dims / 2; ++i) {
      const size_t a = neox ? i : 2 * i, b = neox ? i + dims / 2 : 2 * i + 1;
      expected[a] = static_cast<double>(x[a]) * cosines[i] - static_cast<double>(x[b]) * sines[i];
      expected[b] = static_cast<double>(x[a]) * sines[i] + static_cast<double>(x[b]) * cosines[i];
    }
    vector_.token_rope(x.data(), dims, neox, cosines.data(), sines.data());
    vector_.tile_rope(tile.data(), dims, neox, tile_cosines.data(), tile_sines.data());
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(x[i], expected[i], 1e-6);
      for (size_t lane = 0; lane < lanes_; ++lane) EXPECT_NEAR(tile[i * lanes_ + lane], expected[i], 1e-6);
    }
  }
}

TEST_P(Vectors, HadamardIsOrthonormalAndItsOwnInverse) {
  const size_t n = 64, blocks = 3;
  const std::vector<float> before = random_floats(n * blocks, 7);
  std::vector<float> x = before;
  vector_.token_hadamard(x.data(), n, blocks);
  for (size_t block = 0; block < blocks; ++block) {
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t j = 0; j < n; ++j)
        sum += before[block * n + j] * (__builtin_popcountll(i & j) % 2 == 0 ? 0.125 : -0.125);
      EXPECT_NEAR(x[block * n + i], sum, 1e-5);
    }
  }
  vector_.token_hadamard(x.data(), n, blocks);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], before[i], 1e-5);
}

TEST_P(Vectors, QuantizesTokensToNearest) {
  std::vector<float> x = random_floats(96, 8);
  std::fill(x.begin() + 32, x.begin() + 64, 0.0f);
  std::vector<int8_t> values(128);
  std::vector<float> scales(3), sums(3);
  vector_.token_quantize(x.data(), 96, values.data(), scales.data(), sums.data());
  for (size_t group = 0; group < 3; ++group) {
    double sum = 0;
    for (size_t i = group * 32; i < group * 32 + 32; ++i) {
      EXPECT_LE(std::abs(values[i] * scales[group] - x[i]), 0.5001f * scales[group]);
      sum += static_cast<double>(values[i]) * scales[group];
    }
    EXPECT_NEAR(sums[group], sum, 1e-4);
  }
  EXPECT_EQ(scales[1], 0);
}

TEST_P(Vectors, NanReachesTheScaleOfItsGroup) {
  std::vector<float> x = random_floats(64, 15);
  x[3] = NAN;
  std::vector<int8_t> values(64);
  std::vector<float> scales(2), sums(2);
  vector_.token_quantize(x.data(), 64, values.data(), scales.data(), sums.data());
  EXPECT_TRUE(std::isnan(scales[0]));
  EXPECT_FALSE(std::isnan(scales[1]));
}

INSTANTIATE_TEST_SUITE_P(Targets, Vectors,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
