#include "formats/describe.hpp"

#include "formats/byte_reader.hpp"
#include "support.hpp"

namespace cairn::gguf {
namespace {

using testing::HasSubstr;

TEST(Describe, TextNamesMetadataTensorsAndTotals) {
  const std::string text = describe(File(test::golden("v3.gguf")));
  for (const char* part :
       {"GGUF version 3, 6784 bytes", "kinds.string = 'stones, Steine, 石'", "kinds.i8 = -100",
        "kinds.f32 = 0.1\n", "kinds.bool = true", "arrays.string = ['a', '', 'ß']",
        "arrays.long = [0, 1, 2, 3, 4, 5, … 100 in all]", "'four'", "5 × 4 × 3 × 2", "iq4_xs", "18 tensors"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(Describe, FullTextHoldsEveryElement) {
  EXPECT_THAT(describe(File(test::golden("v3.gguf")), {.full = true}), HasSubstr(", 97, 98, 99]"));
}

TEST(Describe, TotalsAddUp) {
  const File file(test::golden("v3.gguf"));
  const Totals sums = totals(file);
  EXPECT_EQ(sums.all.tensors, file.tensors().size());
  EXPECT_EQ(sums.encodings.size(), 16U);
  uint64_t bytes = 0, elements = 0;
  for (const auto& [encoding, share] : sums.encodings) {
    bytes += share.bytes;
    elements += share.elements;
    if (encoding == Encoding::q4_k) {
      EXPECT_DOUBLE_EQ(share.bits_per_weight(), 4.5);
    }
  }
  EXPECT_EQ(bytes, sums.all.bytes);
  EXPECT_EQ(elements, sums.all.elements);
  EXPECT_DOUBLE_EQ(sums.all.bits_per_weight(),
                   8.0 * static_cast<double>(bytes) / static_cast<double>(elements));
}

TEST(Describe, JsonAbbreviatesLongArrays) {
  const auto json = to_json(File(test::golden("v3.gguf")));
  EXPECT_EQ(json.at("version"), 3);
  EXPECT_EQ(json.at("metadata").at("arrays.i32"), (std::vector<int>{1, -2, 3}));
  EXPECT_EQ(json.at("metadata").at("arrays.long").at("length"), 100);
  EXPECT_EQ(json.at("metadata").at("arrays.long").at("first").size(), 8U);
  EXPECT_EQ(json.at("tensors").size(), 18U);
  EXPECT_EQ(json.at("totals").at("encodings").at("q4_k").at("bits_per_weight"), 4.5);
}

TEST(Quote, KeepsUtf8AndEscapesTheRest) {
  EXPECT_EQ(quote("cairn"), "'cairn'");
  EXPECT_EQ(quote("ß石🪨"), "'ß石🪨'");
  EXPECT_EQ(quote("a\nb\x1b[0m\x7f"), R"('a\nb\x1b[0m\x7f')");
  EXPECT_EQ(quote("\xc2\x9b"), R"('\u009b')");                          // a control character of Latin-1
  EXPECT_EQ(quote("\xc0\xaf\xe0\x80\x80"), R"('\xc0\xaf\xe0\x80\x80')");  // overlong
  EXPECT_EQ(quote("\xed\xa0\x80"), R"('\xed\xa0\x80')");                  // a surrogate
  EXPECT_EQ(quote("\xf4\x90\x80\x80"), R"('\xf4\x90\x80\x80')");          // beyond U+10FFFF
  EXPECT_EQ(quote("\xe7\x9f"), R"('\xe7\x9f')");                          // cut
  EXPECT_EQ(quote("abcdef", 3), "'abc…'");
  EXPECT_EQ(quote(std::string_view("\0", 1)), R"('\x00')");
}

}  // namespace
}  // namespace cairn::gguf
