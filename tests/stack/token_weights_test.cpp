// Weights of tokens in second moments, against what they are by definition.
#include "stack/token_weights.hpp"

#include <gtest/gtest.h>

namespace cairn::stack {
namespace {

constexpr auto kInput = quantize::Input::down;

TokenWeights with(const TokenWeights& added) {
  TokenWeights weights = added;
  weights.set_weights(added.weights());
  return weights;
}

TEST(TokenWeights, AreOneWhereNothingWasSeen) {
  EXPECT_EQ(TokenWeights().of(0, kInput, 5), 1);
  EXPECT_EQ(with(TokenWeights(2)).of(1, kInput, 5), 1);
}

TEST(TokenWeights, FewTokensThatDoNotMatterAreHeldToAUsualOnesEnergy) {
  TokenWeights added(2);
  for (int t = 0; t < 511; ++t) added.add(1, kInput, 1.5, 2.0);
  added.add(1, kInput, 1.5 * 65536, 0.0);  // alone it has 99 % of E[‖x‖²]
  const TokenWeights weights = with(added);
  EXPECT_NEAR(weights.of(1, kInput, 1.6), 512.0 / 511, 1e-6);
  EXPECT_NEAR(weights.of(1, kInput, 1.5 * 65536), 1.0 / 65536, 1e-9);
  EXPECT_EQ(weights.of(0, kInput, 1.5 * 65536), 1) << "another layer's";
  EXPECT_EQ(weights.of(1, quantize::Input::qkv, 1.5 * 65536), 1) << "another input's";
}

TEST(TokenWeights, LargeTokensThatMatterCountMore) {
  TokenWeights added(1);
  for (int t = 0; t < 500; ++t) added.add(0, kInput, 1.5, 1.0);
  for (int t = 0; t < 10; ++t) added.add(0, kInput, 1.5 * 4096, 0.0);
  for (int t = 0; t < 2; ++t) added.add(0, kInput, 1.5 * 16, 40.0);
  const TokenWeights weights = with(added);
  const double mean = (500 * 1.0 + 2 * 40.0) / 512;
  EXPECT_NEAR(weights.of(0, kInput, 24), 40 / mean, 1e-5);
  EXPECT_EQ(weights.of(0, kInput, 1.5), 1) << "no less than a usual one's energy, or all of its own";
  // Never seen: as the nearest octave that was.
  EXPECT_EQ(weights.of(0, kInput, 1e-3), 1);
  EXPECT_NEAR(weights.of(0, kInput, 48), 40 / mean, 1e-5);
}

TEST(TokenWeights, WhereTokensThatMatterHaveMostOfTheEnergyAllAreAlike) {
  TokenWeights added(1);
  for (int t = 0; t < 400; ++t) added.add(0, kInput, 1.5, 1.0);
  for (int t = 0; t < 112; ++t) added.add(0, kInput, 3.0, 0.5);
  EXPECT_EQ(with(added).of(0, kInput, 3.0), 1);
}

TEST(TokenWeights, SumsOfPartsAreThoseOfTheWhole) {
  TokenWeights whole(1), first(1), second(1);
  for (int t = 0; t < 40; ++t) {
    const double square = t % 7 == 0 ? 1e4 : 1 + t, cost = t % 7 == 0 ? 0.25 : t;
    whole.add(0, kInput, square, cost);
    (t < 13 ? first : second).add(0, kInput, square, cost);
  }
  for (size_t i = 0; i < first.sums().size(); ++i) first.sums()[i] += second.sums()[i];
  EXPECT_EQ(first.weights(), whole.weights());
}

TEST(TokenWeights, SquaresOfRowsAreTheirs) {
  const float rows[] = {1, 2, 3, -4, 0, 0.5f};
  EXPECT_EQ(row_squares(rows, 2, 3), (std::vector<double>{14, 16.25}));
}

}  // namespace
}  // namespace cairn::stack
