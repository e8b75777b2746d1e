// BERT's WordPiece against `tokenizers` (tools/make_bert_golden.py).
#include <gmock/gmock.h>

#include "base/sha256.hpp"
#include "store/model_store.hpp"
#include "text/tokenizer_support.hpp"
#include "text/word_piece_normalizer.hpp"

namespace cairn::text::testing {
namespace {

constexpr EncodeOptions kPlain{false, false};
constexpr EncodeOptions kSpecial{false, false, true};

Metadata word_piece(const nlohmann::json& data) {
  Metadata out;
  out.set("model", "bert").set("pre", "bert-bge");
  out.set("tokens", data["tokens"].get<std::vector<std::string>>());
  out.set("token_type", data["types"].get<std::vector<int32_t>>());
  return out;
}

std::vector<HardCase> all_cases(const nlohmann::json& data) {
  std::vector<HardCase> cases = hard_cases();
  for (const auto& more : data["more"]) cases.push_back({more, more});
  return cases;
}

Ids expected(const nlohmann::json& base, const nlohmann::json& differences, size_t i) {
  const std::string key = std::to_string(i);
  return differences.contains(key) ? differences[key].get<Ids>() : base[i].get<Ids>();
}

TEST(WordPiece, HardCases) {
  const auto data = golden("word_piece.json");
  const auto cases = all_cases(data);
  const auto compare = [&](const Metadata& metadata, const char* name, const EncodeOptions& options) {
    const auto tokenizer = metadata.tokenizer();
    const auto none = nlohmann::json::object();
    const auto& differences = std::string_view(name) == "uncased" ? none : data[name];
    ASSERT_EQ(data["uncased"].size(), cases.size());
    for (size_t i = 0; i < cases.size(); ++i) {
      if (cases[i].text.find("\u2581") != std::string::npos) continue;  // which the format uses for itself
      EXPECT_EQ(tokenizer->encode(cases[i].bytes, options), expected(data["uncased"], differences, i))
          << name << ": " << cases[i].text;
    }
  };
  const std::string lower = "normalizer.lowercase", strip = "normalizer.strip_accents";
  compare(word_piece(data), "uncased", kSpecial);
  compare(word_piece(data), "plain", kPlain);
  compare(word_piece(data).set(lower, false), "cased", kSpecial);
  compare(word_piece(data).set(strip, false), "lower", kSpecial);
  compare(word_piece(data).set(lower, false).set(strip, true), "stripped", kSpecial);
}

TEST(WordPiece, TextsLieBetweenClsAndSep) {
  const auto data = golden("word_piece.json");
  for (const bool told : {false, true}) {  // files of before 2024 say less
    Metadata metadata = word_piece(data);
    if (told) metadata.set("bos_token_id", uint32_t{2}).set("seperator_token_id", uint32_t{3});
    const auto tokenizer = metadata.tokenizer();
    const Ids inner = tokenizer->encode("a stone", kPlain), all = tokenizer->encode("a stone");
    ASSERT_EQ(all.size(), inner.size() + 2);
    EXPECT_EQ(tokenizer->raw_token(all.front()), "[CLS]");
    EXPECT_EQ(tokenizer->raw_token(all.back()), "[SEP]");
    EXPECT_EQ(tokenizer->encode("").size(), 2u);
    EXPECT_EQ(tokenizer->decode(all), "a stone");
    EXPECT_EQ(tokenizer->decode(all, true), "[CLS] a stone[SEP]");
    EXPECT_TRUE(tokenizer->is_control(all.front()));
    EXPECT_EQ(tokenizer->piece(all.front()), "");
  }
}

TEST(WordPiece, PlainRangesHoldNoControlTokens) {
  const auto tokenizer = word_piece(golden("word_piece.json")).tokenizer();
  const std::string text = "[MASK] [MASK]";
  const TextRange first{0, 6};
  EncodeOptions options = kSpecial;
  options.plain = {&first, 1};
  const Ids mask = tokenizer->encode("[MASK]", kSpecial), signs = tokenizer->encode("[MASK]", kPlain);
  ASSERT_EQ(mask.size(), 1u);
  Ids both = signs;
  both.push_back(mask.front());
  EXPECT_EQ(tokenizer->encode(text, options), both);
  EXPECT_EQ(tokenizer->control_ranges(text).size(), 2u);
}

std::vector<std::string> words(const WordPieceNormalizer& normalizer, std::string_view text) {
  std::vector<std::string> out;
  normalizer.words(text, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

TEST(WordPieceNormalizer, CutsWords) {
  using ::testing::ElementsAre;
  EXPECT_THAT(words({}, "Don't  stop\tÉCOLE."), ElementsAre("don", "'", "t", "stop", "ecole", "."));
  EXPECT_THAT(words({.lowercase = false, .strip_accents = false}, "École中文"),
              ElementsAre("École", "中", "文"));
  EXPECT_THAT(words({}, std::string_view("a\0b\u200bc", 7)), ElementsAre("abc"));
  EXPECT_THAT(words({}, " \n "), ElementsAre());
}

class MiniLm : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = stored_model_path("all-minilm-l6-v2");
    ASSERT_TRUE(std::filesystem::exists(path))
        << path << " is missing: run cairn pull all-minilm-l6-v2 first, or set CAIRN_MODELS";
    tokenizer_ = make_tokenizer(gguf::File(path));
    golden_ = golden("all-minilm-l6-v2.json");
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json golden_;
};

TEST_F(MiniLm, HardCases) {
  const auto cases = all_cases(golden("word_piece.json"));
  ASSERT_EQ(golden_["special"].size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(tokenizer_->encode(cases[i].bytes, kSpecial), golden_["special"][i].get<Ids>())
        << cases[i].text;
    EXPECT_EQ(tokenizer_->encode(cases[i].bytes, kPlain), expected(golden_["special"], golden_["plain"], i))
        << cases[i].text;
  }
}

TEST_F(MiniLm, WikiText2LineByLine) {
  const std::string path = std::string(CAIRN_TEST_DATA) + "/../../../shared/data/wikitext2-test.raw";
  std::ifstream in(path, std::ios::binary);
  ASSERT_TRUE(in) << path << " is missing";
  Ids ids;
  for (std::string line; std::getline(in, line);) {
    const Ids more = tokenizer_->encode(line);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  EXPECT_EQ(ids.size(), golden_["wikitext2"]["tokens"].get<size_t>());
  Sha256 hash;
  hash.update(std::as_bytes(std::span(ids)));
  EXPECT_EQ(hash.hex(), golden_["wikitext2"]["sha256"].get<std::string>());
}

}  // namespace
}  // namespace cairn::text::testing
