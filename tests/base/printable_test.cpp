#include "base/printable.hpp"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(Printable, LeavesTextAndNamesTheRest) {
  EXPECT_EQ(printable("plain, é 中 😀"), "plain, é 中 😀");
  EXPECT_EQ(printable("a\nb\t\x1b[1m\x7f"), "a\\nb\\x09\\x1b[1m\\x7f");
  EXPECT_EQ(printable("\xc2\x9b\xc2\x85"), "\\u009b\\u0085");                         // Latin-1's controls
  EXPECT_EQ(printable("\xe2\x80\xae\xe2\x81\xa6\xd8\x9c"), "\\u202e\\u2066\\u061c");  // bidirectional
  EXPECT_EQ(printable("\xe2\x80\xa8\xef\xbb\xbf"), "\\u2028\\ufeff");
  EXPECT_EQ(printable("\xf3\xa0\x80\x81"), "\\U000e0001");  // a tag
  EXPECT_EQ(printable("\xff\xc3(\xed\xa0\x80\xc0\x80"), "\\xff\\xc3(\\xed\\xa0\\x80\\xc0\\x80");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable(""), "");
}

}  // namespace
}  // namespace cairn
