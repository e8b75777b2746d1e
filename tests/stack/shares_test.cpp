// Statistics made share by share, wherever: the stack is the same, byte for byte.
#include "stack/shares.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "stack/small_stack.hpp"

namespace cairn::stack {
namespace {

class Shares : public SmallStack {
 protected:
  static EncodeOptions by_three(uint32_t threads) {
    EncodeOptions o = options();
    o.shares = 3;  // of 4 windows: 1, 1 and 2
    o.windows = 4;
    o.importance_windows = 4;
    o.threads = threads;
    o.embeddings = Embeddings::planes;  // whose statistics are the vocabulary's
    return o;
  }
  static void gather(const std::string& to, uint32_t share, const EncodeOptions& o) {
    gather_share(*llm::Model::load(path("model.gguf")), text_, o, path(to), share);
  }
};

TEST_F(Shares, AnyOrderAndAnyoneGiveTheSameStack) {
  encode("one.gguf", by_three(2));
  EncodeOptions small = by_three(1);
  small.moment_bytes = 1;  // a layer in each pass over the text
  gather("two.gguf", 2, by_three(1));
  gather("two.gguf", 0, small);
  encode("two.gguf", by_three(2));  // share 1 is made here
  EXPECT_EQ(content("one.gguf"), content("two.gguf"));
  EXPECT_GT(content("one.gguf").size(), 1000u);
  for (uint32_t share = 0; share < 3; ++share)
    EXPECT_FALSE(std::filesystem::exists(share_path(path("two.gguf"), share, 3)));
}

TEST_F(Shares, StatisticsOfOtherWindowsAreOthers) {
  encode("one.gguf", by_three(2));
  // Files that are not of these options are made anew; what was half written is cut off and made again.
  EncodeOptions other = by_three(2);
  other.windows = 3;
  gather("three.gguf", 1, other);
  gather("three.gguf", 2, by_three(2));
  const std::string file = share_path(path("three.gguf"), 2, 3);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 10);
  encode("three.gguf", by_three(2));
  EXPECT_EQ(content("one.gguf"), content("three.gguf"));
  other.shares = 1;
  other.importance_windows = 3;
  encode("four.gguf", other);
  EXPECT_NE(content("one.gguf"), content("four.gguf"));
}

TEST_F(Shares, MistakesAreTold) {
  try {
    gather("none.gguf", 3, by_three(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "no share 3: they are 0 … 2, of a text");
  }
  EXPECT_FALSE(std::filesystem::exists(share_path(path("none.gguf"), 3, 3)));
  EncodeOptions few = by_three(1);
  few.importance_windows = 2;
  try {
    gather("none.gguf", 0, few);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "3 shares, but importance is measured on 2 windows: one each at least");
  }
}

}  // namespace
}  // namespace cairn::stack
