// The steps of the grids that weights are rounded to.
#include "video/train/steps.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "video/quantise.hpp"

namespace cairn::video {
namespace {

TEST(Steps, TheGridHasBothItsEnds) {
  EXPECT_FLOAT_EQ(to_grid(0.26f, 0.125f, 15), 0.25f);
  EXPECT_FLOAT_EQ(to_grid(-9, 0.125f, 15), -1.875f);
  EXPECT_FLOAT_EQ(to_grid(3, 0, 15), 0);
}

TEST(Steps, LeastErrorIsWithinTheRange) {
  // Channel 0: multiples of 1/4 up to 15 of them; channel 1: nothing but zeros.
  std::vector<float> weights;
  for (int i = -15; i <= 15; ++i) weights.push_back(0.25f * static_cast<float>(i)), weights.push_back(0);
  const std::vector<float> scales = least_error_scales(weights, 31, 2, 15);
  EXPECT_FLOAT_EQ(scales[0], 0.25f);
  EXPECT_EQ(scales[1], 0);
}

// Three layers of like weights, of which the second matters four times as much.
TEST(Steps, CoarserWhereItHurtsLeast) {
  Network network = make_network(parse_architecture("C4M1"), 1);
  WeightLayout layout = weight_layout(network, false);
  layout.parts[2].gain = 0.5f;
  std::vector<std::vector<float>> scales;
  for (const WeightPart& part : layout.parts) scales.emplace_back(part.out, scale_value(-40));
  scales[0][1] = 0;  // a channel of zeros stays one
  std::vector<float> squares(layout.values, 1.0f);
  const WeightPart& middle = layout.parts[1];
  for (size_t w = 0; w < static_cast<size_t>(middle.rows) * middle.out; ++w) squares[middle.weights + w] = 4;
  const auto before = scales;
  coarsen(scales, layout, squares);
  EXPECT_EQ(scales[0][1], 0);
  EXPECT_EQ(scales.back(), before.back());  // the 5×5 filter's
  double coarser = 0, weights = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t o = 0; o < layout.parts[i].out; ++o) {
      if (scales[i][o] == 0) continue;
      const double octaves = std::log2(scales[i][o] / before[i][o]);
      EXPECT_GE(octaves, -1e-3) << i;
      EXPECT_LE(octaves, 1.001) << i;
      coarser += layout.parts[i].rows * octaves;
      weights += layout.parts[i].rows;
    }
  }
  EXPECT_NEAR(coarser / weights, 0.75, 0.07);
  EXPECT_GT(scales[0][0], 1.15f * scales[1][0]);
  EXPECT_EQ(scales[2][0], scales[1][0]);  // half the gradient by a value that is worth half
}

}  // namespace
}  // namespace cairn::video
