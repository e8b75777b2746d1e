#include "base/random.hpp"

#include <gtest/gtest.h>

namespace cairn {
namespace {

// The first outputs of the authors' implementation (rosettacode.org, "Pseudo-random numbers/Splitmix64").
TEST(SplitMix64, EqualsTheReference) {
  SplitMix64 random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
}

// The reference implementation's first outputs for the state that splitmix64 makes of seed 0.
TEST(Random, EqualsTheReference) {
  Random random(0);
  EXPECT_EQ(random.next(), 0x99ec5f36cb75f2b4u);
  EXPECT_EQ(random.next(), 0xbf6e1f784956452au);
  EXPECT_EQ(random.next(), 0x1a5f849d4933e6e0u);
}

}  // namespace
}  // namespace cairn
