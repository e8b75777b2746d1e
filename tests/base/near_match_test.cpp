#include "base/near_match.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/byte_size.hpp"

namespace cairn {
namespace {

TEST(NearMatch, FindsWhatWasMeant) {
  const std::vector<std::string> names = {"run", "chat", "rm", "tokenize", "video", "smollm2-135m"};
  EXPECT_EQ(near_match("rnu", names), "run");  // exchanged: one mistake
  EXPECT_EQ(near_match("cht", names), "chat");
  EXPECT_EQ(near_match("RUN", names), "run");
  EXPECT_EQ(near_match("smolm2-135m", names), "smollm2-135m");
  EXPECT_EQ(near_match("smollm2", names), "smollm2-135m");  // its beginning
  EXPECT_EQ(near_match("toke", names), "tokenize");
  EXPECT_EQ(near_match("quantize", names), "");
  EXPECT_EQ(near_match("", names), "");
  EXPECT_EQ(near_match(std::string(1 << 20, 'r'), names), "");
  EXPECT_EQ(did_you_mean("rnu", names), ": did you mean 'run'?");
  EXPECT_EQ(did_you_mean("xyz", names), "");
}

TEST(NearMatch, DashesAreNoLetters) {
  const std::vector<std::string> flags = {"--top-k", "--temperature"};
  EXPECT_EQ(near_match("--temprature", flags), "--temperature");
  EXPECT_EQ(near_match("--x", flags), "");
}

TEST(ByteSize, IsWrittenInTheUnitThatFits) {
  EXPECT_EQ(byte_size(700), "700 B");
  EXPECT_EQ(byte_size(1536), "1.5 KiB");
  EXPECT_EQ(byte_size(98362432), "93.8 MiB");
  EXPECT_EQ(byte_size(uint64_t{3} << 29), "1.50 GiB");
}

}  // namespace
}  // namespace cairn
