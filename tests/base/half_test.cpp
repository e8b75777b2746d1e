#include "base/half.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace cairn {
namespace {

TEST(Halves, EveryHalfSurvivesTheRoundTripAndFloatsRoundToTheNearest) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float value = from_half(static_cast<uint16_t>(bits));
    ASSERT_EQ(to_half(value), bits);
    ASSERT_EQ(to_half(-value), bits | 0x8000);
    if (bits + 1 == 0x7c00) break;
    const float next = from_half(static_cast<uint16_t>(bits + 1)), middle = (value + next) / 2;
    ASSERT_EQ(to_half(middle), bits % 2 == 0 ? bits : bits + 1) << "ties go to even";
    ASSERT_EQ(to_half(std::nextafter(middle, next)), bits + 1);
  }
  EXPECT_EQ(from_half(0x3c00), 1.0f);
  EXPECT_EQ(from_half(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(to_half(1e6f), 0x7c00);
  EXPECT_EQ(to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(from_half(0x7c00), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(from_half(to_half(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(round_to_half(1.0f + 0x1p-12f), 1.0f);
}

}  // namespace
}  // namespace cairn
