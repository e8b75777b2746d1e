#include "llm/guesses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "llm/step_cost.hpp"

namespace cairn::llm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Lookup, GivesWhatFollowedTheLastThreeTokensElseTwo) {
  Lookup lookup;
  const auto push = [&](std::initializer_list<Token> tokens) {
    for (const Token token : tokens) lookup.push(token);
  };
  push({1, 2, 3, 4, 5});
  EXPECT_THAT(lookup.guess(8).tokens, IsEmpty());
  push({2, 3});  // 2 3 stood before 4 5
  EXPECT_THAT(lookup.guess(8).tokens, ElementsAre(4, 5, 2, 3));
  EXPECT_THAT(lookup.guess(2).tokens, ElementsAre(4, 5));
  EXPECT_EQ(lookup.guess(8).match, 2u);
  push({9, 1, 2, 3});  // 1 2 3 stood before 4, and 2 3 later before 9
  EXPECT_THAT(lookup.guess(1).tokens, ElementsAre(4));
  EXPECT_EQ(lookup.guess(1).match, 3u);
  push({7, 8});
  EXPECT_THAT(lookup.guess(8).tokens, IsEmpty());
}

TEST(Lookup, TellsHowMuchOfTheTextIsRepeated) {
  Lookup lookup;
  for (int i = 0; i < 40; ++i) lookup.push(i % 20);
  EXPECT_EQ(lookup.guess(4).match, Lookup::kLongestMatch);
  EXPECT_THAT(lookup.guess(4).tokens, ElementsAre(0, 1, 2, 3));
}

TEST(Chance, FollowsWhatHappens) {
  Chance chance(0.5, 2);
  EXPECT_DOUBLE_EQ(chance.value(), 0.5);
  for (int i = 0; i < 200; ++i) chance.learn(i % 4 != 0);
  EXPECT_NEAR(chance.value(), 0.75, 0.03);
  for (int i = 0; i < 200; ++i) chance.learn(false);
  EXPECT_LT(chance.value(), 0.01);
  chance.doubt();
  chance.learn(true);
  EXPECT_NEAR(chance.value(), 0.25, 0.02);  // one of four
}

TEST(StepCost, KnowsWhatWasMeasuredAndSupposesTheRest) {
  StepCost cost;
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(cost.known());
    cost.learn(1, 0.010);
  }
  EXPECT_TRUE(cost.known());
  EXPECT_DOUBLE_EQ(cost.of(0), 0);
  EXPECT_DOUBLE_EQ(cost.of(1), 0.010);
  EXPECT_GT(cost.of(4), cost.of(2));
  EXPECT_LT(cost.of(4), 0.020);
  cost.learn(8, 0.024);  // the first time may be slow
  EXPECT_LT(cost.of(8), 0.020);
  for (int i = 0; i < 2; ++i) cost.learn(8, 0.024);
  EXPECT_NEAR(cost.of(4), 0.016, 1e-9);  // between the two
  EXPECT_NEAR(cost.of(16), 0.048, 1e-9);
  EXPECT_NEAR(cost.more(8), 0.010, 1e-9);  // a step of its own
  for (int i = 0; i < 100; ++i) cost.learn(4, 0.012);
  EXPECT_NEAR(cost.of(4), 0.012, 1e-3);
  EXPECT_LE(cost.of(2), cost.of(4));
  cost.learn(1, 1.0);  // interrupted
  EXPECT_LT(cost.of(1), 0.012);
  // A machine that has become slower is so for all of them.
  const double before = cost.of(8);
  for (int i = 0; i < 200; ++i) cost.learn(1, 0.020);
  EXPECT_GT(cost.of(8), 1.3 * before);
}

}  // namespace
}  // namespace cairn::llm
