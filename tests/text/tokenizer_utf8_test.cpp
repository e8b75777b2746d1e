#include "base/utf8.hpp"
#include "text/tokenizer_support.hpp"

namespace cairn::text::testing {
namespace {

// The texts are what Python's bytes.decode("utf-8", errors="replace") made of the bytes.
TEST(Utf8, ReplacesAsPythonDoes) {
  for (const HardCase& one : hard_cases()) {
    std::string buffer;
    const std::string_view text = valid_utf8(one.bytes, buffer);
    EXPECT_EQ(text, one.text);
    if (one.bytes == one.text) {
      EXPECT_EQ(text.data(), one.bytes.data());  // no copy
    }
  }
}

TEST(Utf8, StreamAtEverySplit) {
  for (const HardCase& one : hard_cases()) {
    const std::string_view bytes = one.bytes;
    for (size_t split = 0; split <= bytes.size(); ++split) {
      Utf8Stream stream;
      std::string out = stream.push(bytes.substr(0, split));
      std::string buffer;
      EXPECT_EQ(valid_utf8(out, buffer), out) << "a character was cut";
      out += stream.push(bytes.substr(split));
      EXPECT_EQ(out + stream.finish(), one.text);
    }
    Utf8Stream stream;
    std::string out;
    for (char c : bytes) {
      const std::string part = stream.push({&c, 1});
      std::string buffer;
      EXPECT_EQ(valid_utf8(part, buffer), part);
      out += part;
    }
    EXPECT_EQ(out + stream.finish(), one.text);
    EXPECT_EQ(stream.finish(), "");
  }
}

TEST(Utf8, HoldsBackOnlyWhatMayStillBecomeACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80z"), "\U0001F600z");
  EXPECT_EQ(stream.push("\xED"), "");
  EXPECT_EQ(stream.push("\xA0"), "\uFFFD\uFFFD");  // a surrogate's beginning: hopeless at its second byte
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

}  // namespace
}  // namespace cairn::text::testing
