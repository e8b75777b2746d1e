#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/kernel_set.hpp"
#include "kernels/static_int8.hpp"
#include "quantize/scheme.hpp"

namespace cairn::quantize {
namespace {

std::vector<float> random_floats(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// What the rotation works in.
std::vector<float> scratch_of(const Rotation& rotation) {
  return std::vector<float>(rotation.scratch_floats());
}

TEST(Rotation, KeepsInnerProducts) {
  for (const uint32_t width : {4u, 36u, 576u, 640u, 1536u, 2048u, 5504u}) {
    const Rotation rotation(width);
    std::vector<float> x = random_floats(width, 1), w = random_floats(width, 2);
    const double before = dot(x, w), length = dot(x, x);
    std::vector<float> scratch = scratch_of(rotation);
    rotation.apply(x.data(), scratch.data());
    rotation.apply(w.data(), scratch.data());
    EXPECT_NEAR(dot(x, w), before, 1e-3 * width / 10) << width;
    EXPECT_NEAR(dot(x, x), length, 1e-4 * length) << width;
  }
}

TEST(Rotation, SpreadsAnOutlierOverTheWholeWidth) {
  for (const uint32_t width : {576u, 1536u, 5504u}) {
    std::vector<float> x(width, 0.0f);
    x[width / 3] = 1;
    const Rotation rotation(width);
    rotation.apply(x.data(), scratch_of(rotation).data());
    float largest = 0;
    for (const float v : x) largest = std::max(largest, std::abs(v));
    EXPECT_LT(largest, 2 / std::sqrt(static_cast<float>(width)));
  }
}

TEST(Rotation, ATileIsItsTokens) {
  const size_t lanes = kernels::kernel_set(kernels::default_target()).exact.tile_tokens;
  for (const uint32_t width : {36u, 576u, 2048u}) {
    const Rotation rotation(width);
    std::vector<float> tile = random_floats(width * lanes, 3);
    const std::vector<float> before = tile;
    rotation.apply_tile(tile.data(), lanes, scratch_of(rotation).data());
    for (const size_t lane : {size_t{0}, lanes - 1}) {
      std::vector<float> x(width);
      for (size_t i = 0; i < width; ++i) x[i] = before[i * lanes + lane];
      rotation.apply(x.data(), scratch_of(rotation).data());
      for (size_t i = 0; i < width; ++i) ASSERT_NEAR(tile[i * lanes + lane], x[i], 1e-5);
    }
  }
}

}  // namespace
}  // namespace cairn::quantize
