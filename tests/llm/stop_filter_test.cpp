#include "llm/stop_filter.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/random.hpp"

namespace cairn::llm {
namespace {

struct Cut {
  std::string text;
  std::string matched;
  bool operator==(const Cut&) const = default;
};

// What comes out when the text goes in in these pieces; checks on the way that nothing shown is taken back.
Cut filter(const std::vector<std::string>& stops, const std::vector<std::string_view>& pieces) {
  StopFilter stop_filter(stops);
  Cut cut;
  for (const std::string_view piece : pieces) cut.text += stop_filter.push(piece);
  cut.text += stop_filter.finish();
  cut.matched = stop_filter.matched();
  return cut;
}

// By definition: shorten the text to where a stop string is first complete, then drop that.
Cut expected(const std::vector<std::string>& stops, std::string_view text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop) && stop.size() > best.size()) best = stop;
    }
    if (!best.empty()) return {std::string(text.substr(0, end - best.size())), best};
  }
  return {std::string(text), ""};
}

TEST(StopFilter, EverySplitOfShortTexts) {
  const std::vector<std::vector<std::string>> stop_lists = {
      {"stop"}, {"ab", "abab", "b"}, {"aab"}, {"\n\n", "\nUser:"}, {"abcd", "bc"}, {"aaa"}, {"é"}, {}};
  const std::vector<std::string> texts = {
      "",      "stop",  "a stop b", "stostop",        "ststst", "aaab",         "aab",
      "abcde", "xabcx", "a\n\nb",   "one\nUser: two", "\n",     "caf\xc3\xa9!", "aa"};
  for (const auto& stops : stop_lists) {
    for (const std::string& text : texts) {
      const Cut wanted = expected(stops, text);
      const size_t splits = size_t{1} << (text.empty() ? 0 : text.size() - 1);
      for (size_t split = 0; split < splits; ++split) {
        std::vector<std::string_view> pieces;
        size_t begin = 0;
        for (size_t i = 1; i <= text.size(); ++i) {
          if (i < text.size() && (split >> (i - 1) & 1) == 0) continue;
          pieces.push_back(std::string_view(text).substr(begin, i - begin));
          begin = i;
        }
        ASSERT_EQ(filter(stops, pieces).text, wanted.text) << "text '" << text << "' split " << split;
        ASSERT_EQ(filter(stops, pieces).matched, wanted.matched) << "text '" << text << "' split " << split;
      }
    }
  }
}

TEST(StopFilter, RandomStreamsOverASmallAlphabet) {
  Random random(3);
  for (int round = 0; round < 2000; ++round) {
    const auto word = [&](size_t most) {
      std::string letters(1 + random.next() % most, ' ');
      for (char& letter : letters) letter = static_cast<char>('a' + random.next() % 2);
      return letters;
    };
    const std::vector<std::string> stops = {word(6), word(6), word(3) + "b"};
    const std::string text = word(40);
    std::vector<std::string_view> pieces;
    for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(pieces.back().size())) {
      pieces.push_back(rest.substr(0, 1 + random.next() % 5));
    }
    ASSERT_EQ(filter(stops, pieces), expected(stops, text)) << text;
  }
}

TEST(StopFilter, HoldsBackNoMoreThanItMust) {
  StopFilter stop_filter({"\nUser:"});
  EXPECT_EQ(stop_filter.push("Hello"), "Hello");
  EXPECT_EQ(stop_filter.push("\nUs"), "");
  EXPECT_EQ(stop_filter.push("a\nUse"), "\nUsa");
  EXPECT_EQ(stop_filter.push("r: hi"), "");
  EXPECT_TRUE(stop_filter.stopped());
  EXPECT_EQ(stop_filter.push("more"), "");
  EXPECT_EQ(stop_filter.finish(), "");
}

TEST(StopFilter, RefusesWhatCannotBeAStopString) {
  EXPECT_THROW(StopFilter({"fine", ""}), Error);
  EXPECT_THROW(StopFilter({"\xc3"}), Error);
  EXPECT_THROW(StopFilter({"\xa9x"}), Error);
}

}  // namespace
}  // namespace cairn::llm
