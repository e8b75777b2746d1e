// Gemma 4's tokenizer against `tokenizers` (tools/make_gemma4_golden.py).
#include "text/tokenizer_support.hpp"

namespace cairn::text::testing {
namespace {

Metadata gemma4(const nlohmann::json& data) {
  Metadata out;
  out.set("model", "gemma4");
  out.set("tokens", data["tokens"].get<std::vector<std::string>>());
  out.set("token_type", data["types"].get<std::vector<int32_t>>());
  out.set("merges", data["merges"].get<std::vector<std::string>>());
  out.set("bos_token_id", uint32_t{2}).set("eos_token_id", uint32_t{1}).set("unknown_token_id", uint32_t{3});
  out.set("add_space_prefix", false).set("add_bos_token", true);
  return out;
}

TEST(Gemma4, HardCases) {
  const auto data = golden("gemma4.json");
  const auto tokenizer = gemma4(data).tokenizer();
  const auto cases = hard_cases();
  ASSERT_EQ(data["ids"].size(), cases.size());
  const std::string blank = "\xE2\x96\x81";
  for (size_t i = 0; i < cases.size(); ++i) {
    const Ids ids = tokenizer->encode(cases[i].bytes, {false, false, true});
    EXPECT_EQ(ids, data["ids"][i].get<Ids>()) << cases[i].text;
    if (cases[i].text.find(blank) == std::string::npos)
      EXPECT_EQ(tokenizer->decode(ids, true), cases[i].text);
  }
}

TEST(Gemma4, BeginsWithBos) {
  const auto tokenizer = gemma4(golden("gemma4.json")).tokenizer();
  const Ids ids = tokenizer->encode("the stone");
  EXPECT_EQ(ids.front(), 2);
  EXPECT_EQ(tokenizer->decode(ids), "the stone");
}

}  // namespace
}  // namespace cairn::text::testing
