#include "video/range_coder.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace cairn::video {
namespace {

TEST(RangeCoder, SymbolsComeBackWhateverTheModels) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const uint32_t size = 2 + random() % 255, count = random() % 400, skew = 1 + random() % size;
    std::vector<uint32_t> symbols(count);
    for (uint32_t& symbol : symbols) symbol = random() % skew;
    RangeEncoder encoder;
    AdaptiveModel model = AdaptiveModel::even(size);
    for (const uint32_t symbol : symbols) model.encode(encoder, symbol);
    const std::vector<std::byte> bytes = encoder.finish();
    RangeDecoder decoder(bytes);
    AdaptiveModel again = AdaptiveModel::even(size);
    for (const uint32_t symbol : symbols) ASSERT_EQ(again.decode(decoder), symbol) << round;
    EXPECT_FALSE(decoder.overrun());
  }
}

// Carries run through bytes of 0xFF: intervals at the upper end of what is left.
TEST(RangeCoder, CarriesArePropagated) {
  for (uint32_t last = 0; last < 2; ++last) {
    RangeEncoder encoder;
    for (int i = 0; i < 200; ++i) encoder.encode(kRangeTotal - 1 - (i % 3 == 0), 1, kRangeTotal);
    encoder.encode(last, 1, 2);
    const std::vector<std::byte> bytes = encoder.finish();
    RangeDecoder decoder(bytes);
    for (int i = 0; i < 200; ++i) {
      const uint32_t wanted = kRangeTotal - 1 - (i % 3 == 0);
      ASSERT_EQ(decoder.at(kRangeTotal), wanted) << i;
      decoder.take(wanted, 1);
    }
    EXPECT_EQ(decoder.at(2), last);
  }
}

TEST(RangeCoder, CostsTheEntropy) {
  std::mt19937 random(2);
  RangeEncoder encoder;
  AdaptiveModel model = AdaptiveModel::even(2);
  for (int i = 0; i < 100000; ++i) model.encode(encoder, random() % 100 < 3 ? 1 : 0);
  const double entropy = -(0.03 * std::log2(0.03) + 0.97 * std::log2(0.97)) * 100000 / 8;
  EXPECT_NEAR(static_cast<double>(encoder.finish().size()), entropy, 0.04 * entropy);
}

TEST(RangeCoder, ReadingBeyondTheEndIsTold) {
  const std::vector<std::byte> nothing;
  RangeDecoder decoder(nothing);
  AdaptiveModel model = AdaptiveModel::even(255);
  EXPECT_FALSE(decoder.overrun());
  for (int i = 0; i < 50; ++i) model.decode(decoder);
  EXPECT_TRUE(decoder.overrun());
}

}  // namespace
}  // namespace cairn::video
