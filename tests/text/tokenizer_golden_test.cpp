// Token ids against those of the reference tokenizers (tools/make_tokenizer_golden.py).
#include <fmt/format.h>

#include "base/sha256.hpp"
#include "store/model_store.hpp"
#include "text/tokenizer_support.hpp"

namespace cairn::text::testing {
namespace {

constexpr EncodeOptions plain{false, false};
constexpr EncodeOptions special{false, false, true};

// differences: the cases in which another list of ids deviates from `base`, by number.
Ids expected(const nlohmann::json& base, const nlohmann::json& differences, size_t i) {
  const std::string key = std::to_string(i);
  return differences.contains(key) ? differences[key].get<Ids>() : base[i].get<Ids>();
}

class PreTokenizers : public ::testing::TestWithParam<std::string> {};

TEST_P(PreTokenizers, HardCases) {
  const auto all = golden("pre_tokenizers.json");
  const auto tokenizer = byte_level(GetParam()).tokenizer();
  const auto cases = hard_cases();
  const auto& base = all["gpt-2"];
  const auto differences = GetParam() == "gpt-2" ? nlohmann::json::object() : all[GetParam()];
  ASSERT_EQ(base.size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(tokenizer->encode(cases[i].bytes, special), expected(base, differences, i)) << cases[i].text;
}

INSTANTIATE_TEST_SUITE_P(All, PreTokenizers,
                         ::testing::Values("gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-llm",
                                           "starcoder", "refact", "default", "command-r", "dbrx", "stablelm2",
                                           "qwen35", "gpt-4o", "tekken", "deepseek-coder", "deepseek-v3",
                                           "falcon", "glm4", "chatglm-bpe", "exaone4"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class SentencePieces : public ::testing::TestWithParam<std::string> {};

TEST_P(SentencePieces, HardCases) {
  const auto data = golden(GetParam() + ".json");
  const auto tokenizer = sentencepiece(data).tokenizer();
  const auto cases = hard_cases();
  ASSERT_EQ(data["ids"].size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(tokenizer->encode(cases[i].bytes, plain), data["ids"][i].get<Ids>()) << cases[i].text;
}

INSTANTIATE_TEST_SUITE_P(All, SentencePieces,
                         ::testing::Values("sentencepiece_bytes", "sentencepiece_unused",
                                           "sentencepiece_phrases"),
                         [](const auto& test) { return test.param; });

class RealModels : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string path = stored_model_path(GetParam());
    ASSERT_TRUE(std::filesystem::exists(path))
        << path << " is missing: run cairn pull " << GetParam() << " first, or set CAIRN_MODELS";
    tokenizer_ = make_tokenizer(gguf::File(path));
    golden_ = golden(GetParam() + ".json");
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json golden_;
};

TEST_P(RealModels, HardCases) {
  const auto cases = hard_cases();
  ASSERT_EQ(golden_["special"].size(), cases.size());
  const auto same = nlohmann::json::object();
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(tokenizer_->encode(cases[i].bytes, special), expected(golden_["special"], same, i))
        << cases[i].text;
    EXPECT_EQ(tokenizer_->encode(cases[i].bytes, plain), expected(golden_["special"], golden_["plain"], i))
        << cases[i].text;
  }
}

TEST_P(RealModels, AllOfWikiText2) {
  const std::string path = std::string(CAIRN_TEST_DATA) + "/../../../shared/data/wikitext2-test.raw";
  std::ifstream in(path, std::ios::binary);
  ASSERT_TRUE(in) << path << " is missing";
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Ids ids = tokenizer_->encode(text, plain);
  EXPECT_EQ(ids.size(), golden_["wikitext2"]["tokens"].get<size_t>());
  Sha256 hash;  // of the ids as 32-bit little-endian numbers, which is how this machine has them
  hash.update(std::as_bytes(std::span(ids)));
  EXPECT_EQ(hash.hex(), golden_["wikitext2"]["sha256"].get<std::string>());
  EXPECT_EQ(tokenizer_->decode(ids), text);
}

INSTANTIATE_TEST_SUITE_P(All, RealModels, ::testing::Values("smollm2-135m", "gemma3-270m"),
                         [](const auto& test) { return test.param.substr(0, test.param.find('-')); });

TEST(RealModelRules, SmolLm2) {
  const auto tokenizer = make_tokenizer(gguf::File(stored_model_path("smollm2-135m")));
  EXPECT_EQ(tokenizer->encode("Hello"), tokenizer->encode("Hello", plain));  // add_bos_token is false
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_TRUE(tokenizer->is_end(0));  // <|endoftext|>
  EXPECT_TRUE(tokenizer->is_end(2));  // <|im_end|>
  EXPECT_FALSE(tokenizer->is_end(1));
  EXPECT_TRUE(tokenizer->is_control(1));
  EXPECT_EQ(tokenizer->piece(1), "");
  EXPECT_EQ(tokenizer->piece(1, true), "<|im_start|>");
}

TEST(RealModelRules, Gemma3) {
  const auto tokenizer = make_tokenizer(gguf::File(stored_model_path("gemma3-270m")));
  const Ids ids = tokenizer->encode("Hello world");
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[0], 2);  // <bos>
  EXPECT_EQ(tokenizer->decode(ids), "Hello world");
  EXPECT_EQ(tokenizer->decode(ids, true), "<bos>Hello world");
  EXPECT_TRUE(tokenizer->is_end(1));    // <eos>
  EXPECT_TRUE(tokenizer->is_end(106));  // <end_of_turn>
  EXPECT_FALSE(tokenizer->is_end(107));
  EXPECT_EQ(tokenizer->piece(238 + 0x0A), "\n");  // <0x0A>
}

}  // namespace
}  // namespace cairn::text::testing
