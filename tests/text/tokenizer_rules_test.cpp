// What the metadata says about BOS, EOS, ends and added tokens, and metadata that contradicts itself.
#include <gmock/gmock.h>

#include "base/error.hpp"
#include "text/tokenizer_support.hpp"

namespace cairn::text::testing {
namespace {

using ::testing::HasSubstr;

// 0 <unk>, 1 <s>, 2 </s>, 3 "▁", 4 a, 5 b, 6 "ab", 7 "▁ab", 8 "<|im_end|>" control, 9 "<x>" and 10 "<xy>"
// added
Metadata tiny_sentencepiece() {
  Metadata out;
  out.set("model", "llama");
  out.set("tokens", std::vector<std::string>{"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab",
                                             "\u2581"
                                             "ab",
                                             "<|im_end|>", "<x>", "<xy>"});
  out.set("token_type", std::vector<int32_t>{2, 3, 3, 1, 1, 1, 1, 1, 3, 4, 4});
  out.set("scores", std::vector<float>{0, 0, 0, -9, -8, -7, -1, -2, 0, 0, 0});
  return out;
}

Metadata tiny_bpe() {
  Metadata out;
  out.set("model", "gpt2").set("pre", "gpt-2");
  out.set("tokens", std::vector<std::string>{"a", "b", "ab", "<|eot_id|>", "<s>"});
  out.set("token_type", std::vector<int32_t>{1, 1, 1, 3, 3});
  out.set("merges", std::vector<std::string>{"a b"});
  return out;
}

void expect_error(const Metadata& metadata, ErrorCode code, const std::string& text) {
  try {
    metadata.tokenizer();
    FAIL() << "no error; wanted: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text));
    EXPECT_THAT(error.what(), HasSubstr(".gguf"));
  }
}

TEST(TokenizerRules, BosAndEos) {
  const EncodeOptions none{false, false};
  auto metadata = tiny_sentencepiece();
  EXPECT_EQ(metadata.tokenizer()->encode("ab"), (Ids{1, 7}));  // the kind's default: BOS, no EOS
  EXPECT_EQ(metadata.tokenizer()->encode(""), (Ids{1}));
  EXPECT_EQ(metadata.tokenizer()->encode("ab", none), (Ids{7}));
  metadata.set("add_eos_token", true);
  EXPECT_EQ(metadata.tokenizer()->encode("ab"), (Ids{1, 7, 2}));
  metadata.set("add_bos_token", false).set("bos_token_id", uint32_t{2});
  EXPECT_EQ(metadata.tokenizer()->encode("ab"), (Ids{7, 2}));
  EXPECT_EQ(metadata.tokenizer()->bos(), 2);

  auto bpe = tiny_bpe();
  EXPECT_EQ(bpe.tokenizer()->encode("ab"), (Ids{2}));
  EXPECT_FALSE(bpe.tokenizer()->bos());
  bpe.set("bos_token_id", uint32_t{4}).set("add_bos_token", true);
  EXPECT_EQ(bpe.tokenizer()->encode("ab"), (Ids{4, 2}));
  bpe.erase("add_bos_token").set("pre", "llama-bpe");  // whose default is to add it
  EXPECT_EQ(bpe.tokenizer()->encode("ab"), (Ids{4, 2}));
  bpe.erase("bos_token_id");
  EXPECT_EQ(bpe.tokenizer()->encode("ab"), (Ids{2}));
}

TEST(TokenizerRules, SpacePrefix) {
  const EncodeOptions special{false, false, true};
  auto metadata = tiny_sentencepiece();
  EXPECT_EQ(metadata.tokenizer()->encode(" ab", special), (Ids{3, 7}));
  EXPECT_EQ(metadata.tokenizer()->encode("ab</s>ab", special), (Ids{7, 2, 7}));
  EXPECT_EQ(metadata.tokenizer()->decode(Ids{1, 7, 7}), "ab ab");
  EXPECT_EQ(metadata.tokenizer()->piece(7), " ab");
  metadata.set("add_space_prefix", false);
  EXPECT_EQ(metadata.tokenizer()->encode("ab</s>ab", special), (Ids{6, 2, 6}));
  EXPECT_EQ(metadata.tokenizer()->decode(Ids{7}), " ab");
}

TEST(TokenizerRules, UnknownCharacters) {
  const EncodeOptions special{false, false, true};
  const auto tokenizer = tiny_sentencepiece().set("add_space_prefix", false).tokenizer();
  EXPECT_EQ(tokenizer->encode("a\u4e2d\u4e2d\U0001f600b", special), (Ids{4, 0, 5}));  // one for a run
  EXPECT_EQ(tokenizer->encode("<unk>\u4e2d", special), (Ids{0, 0}));
  EXPECT_EQ(tokenizer->piece(0), "");
}

TEST(TokenizerRules, AddedTokens) {
  const auto tokenizer = tiny_sentencepiece().set("add_space_prefix", false).tokenizer();
  const EncodeOptions plain{false, false}, special{false, false, true};
  EXPECT_EQ(tokenizer->encode("a<xy>b<x>", plain), (Ids{4, 10, 5, 9}));  // always, the longest first
  EXPECT_EQ(tokenizer->encode("a<|im_end|>b", special), (Ids{4, 8, 5}));
  EXPECT_EQ(tokenizer->encode("a<|im_end|>b", plain), (Ids{4, 0, 5}));
  EXPECT_EQ(tokenizer->encode("<x<xy><xy", special), (Ids{0, 10, 0}));
}

TEST(TokenizerRules, BosAndEosEachWhereItIsWanted) {
  auto metadata = tiny_sentencepiece();
  metadata.set("add_eos_token", true);
  const auto tokenizer = metadata.tokenizer();
  EXPECT_EQ(tokenizer->encode("ab", {.add_eos = false}), (Ids{1, 7}));
  EXPECT_EQ(tokenizer->encode("ab", {.add_bos = false}), (Ids{7, 2}));
  auto bpe = tiny_bpe();
  bpe.set("bos_token_id", uint32_t{4}).set("eos_token_id", uint32_t{3});
  bpe.set("add_bos_token", true).set("add_eos_token", true);
  EXPECT_EQ(bpe.tokenizer()->encode("ab", {.add_eos = false}), (Ids{4, 2}));
  EXPECT_EQ(bpe.tokenizer()->encode("ab", {.add_bos = false}), (Ids{2, 3}));
}

TEST(TokenizerRules, ControlTokensWhereTheyAreNotWanted) {
  const auto tokenizer = tiny_sentencepiece().set("add_space_prefix", false).tokenizer();
  const std::string text = "a <|im_end|>b<|im_end|><x>";
  const auto found = tokenizer->control_ranges(text);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(text.substr(found[0].begin, found[0].end - found[0].begin), "<|im_end|>");
  const auto encode = [&](std::vector<TextRange> plain) {
    return tokenizer->encode(text,
                             {.add_bos = false, .add_eos = false, .parse_special = true, .plain = plain});
  };
  EXPECT_EQ(encode({}), (Ids{4, 3, 8, 5, 8, 9}));
  EXPECT_EQ(encode({found[0]}), (Ids{4, 3, 0, 5, 8, 9}));
  EXPECT_EQ(encode({found[1]}), (Ids{4, 3, 8, 5, 0, 9}));
  EXPECT_EQ(encode({{found[0].begin + 3, found[0].begin + 4}}), (Ids{4, 3, 0, 5, 8, 9})) << "in part";
  const auto bpe = tiny_bpe().tokenizer();
  const auto ranges = bpe->control_ranges("ab<|eot_id|>");
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(bpe->encode("ab<|eot_id|>", {.parse_special = true}), (Ids{2, 3}));
  EXPECT_EQ(bpe->encode("ab<|eot_id|>", {.parse_special = true, .plain = ranges}), (Ids{2}));
}

TEST(TokenizerRules, WithoutAPreTokenizer) {
  // Digits one by one is Qwen 2's way; "default" takes three at a time.
  Metadata metadata;
  metadata.set("model", "gpt2");
  metadata.set("tokens", std::vector<std::string>{"1", "11", "111"});
  metadata.set("merges", std::vector<std::string>{"1 1", "11 1"});
  EXPECT_EQ(metadata.tokenizer()->encode("111"), (Ids{2}));
  EXPECT_THAT(metadata.tokenizer()->warning(), HasSubstr("tokenizer.ggml.pre"));
  metadata.values.emplace_back("general.architecture", std::string("qwen2"));
  EXPECT_EQ(metadata.tokenizer()->encode("111"), (Ids{0, 0, 0}));
  EXPECT_EQ(metadata.tokenizer()->warning(), "");
  metadata.set("pre", "gpt-2");
  EXPECT_EQ(metadata.tokenizer()->encode("111"), (Ids{2}));
  EXPECT_EQ(metadata.tokenizer()->warning(), "");
}

TEST(TokenizerRules, Ends) {
  auto metadata = tiny_sentencepiece();
  const auto ends = [&] {
    const auto tokenizer = metadata.tokenizer();
    Ids out;
    for (Token t = -1; t <= 11; ++t) {
      if (tokenizer->is_end(t)) out.push_back(t);
    }
    return out;
  };
  EXPECT_EQ(ends(), (Ids{2, 8}));
  metadata.set("eos_token_id", uint32_t{1})
      .set("eot_token_id", uint32_t{9})
      .set("eom_token_id", uint32_t{10});
  EXPECT_EQ(ends(), (Ids{1, 8, 9, 10}));
  EXPECT_TRUE(tiny_bpe().tokenizer()->is_end(3));
}

TEST(TokenizerRules, WithoutTypes) {
  auto metadata = tiny_sentencepiece();
  metadata.erase("token_type");
  const auto tokenizer = metadata.tokenizer();
  EXPECT_TRUE(tokenizer->is_control(0) && tokenizer->is_control(1) && tokenizer->is_control(2));
  EXPECT_FALSE(tokenizer->is_control(8));
  EXPECT_EQ(tokenizer->encode("ab"), (Ids{1, 7}));
}

TEST(TokenizerRules, LookUps) {
  const auto tokenizer = tiny_bpe().tokenizer();
  EXPECT_EQ(tokenizer->vocabulary(), 5u);
  EXPECT_EQ(tokenizer->find("ab"), 2);
  EXPECT_EQ(tokenizer->find("abc"), std::nullopt);
  EXPECT_EQ(tokenizer->raw_token(3), "<|eot_id|>");
  for (Token token : {-1, 5}) {
    EXPECT_THROW(tokenizer->piece(token), Error);
    EXPECT_THROW(tokenizer->raw_token(token), Error);
    EXPECT_THROW(tokenizer->is_control(token), Error);
    EXPECT_THROW(tokenizer->decode(Ids{token}), Error);
    EXPECT_FALSE(tokenizer->is_end(token));
  }
}

TEST(TokenizerErrors, Unsupported) {
  expect_error(tiny_bpe().set("model", "t5"), ErrorCode::unsupported, "'t5'");
  expect_error(tiny_bpe().set("pre", "gpt-17"), ErrorCode::unsupported, "'gpt-17'");
}

TEST(TokenizerErrors, Vocabulary) {
  expect_error(tiny_bpe().erase("tokens"), ErrorCode::format, "no vocabulary");
  expect_error(tiny_bpe().set("tokens", std::vector<int32_t>{1}), ErrorCode::format, "list of texts");
  expect_error(tiny_bpe().set("token_type", std::vector<int32_t>{1, 1}), ErrorCode::format,
               "2 entries for 5");
  expect_error(tiny_bpe().set("token_type", std::vector<int32_t>{1, 1, 1, 3, 7}), ErrorCode::format,
               "type 7");
  expect_error(tiny_bpe().set("eos_token_id", uint32_t{5}), ErrorCode::format, "5 tokens");
  expect_error(tiny_bpe().set("add_bos_token", true), ErrorCode::format, "no BOS");
  expect_error(tiny_bpe().set("add_eos_token", true), ErrorCode::format, "no EOS");
}

TEST(TokenizerErrors, Merges) {
  expect_error(tiny_bpe().erase("merges"), ErrorCode::format, "merges");
  for (const char* bad : {"ab", "a ", " b", "a c", "b a", ""})
    expect_error(tiny_bpe().set("merges", std::vector<std::string>{"a b", bad}), ErrorCode::format,
                 "entry 1");
}

TEST(TokenizerErrors, SentencePiece) {
  expect_error(tiny_sentencepiece().erase("scores"), ErrorCode::format, "0 entries for 11");
  std::vector<float> scores(11);
  scores[4] = std::numeric_limits<float>::quiet_NaN();
  expect_error(tiny_sentencepiece().set("scores", scores), ErrorCode::format, "entry 4");
  std::vector<int32_t> types(11, 1);
  types[4] = 6;
  expect_error(tiny_sentencepiece().set("token_type", types), ErrorCode::format, "of type byte");
}

}  // namespace
}  // namespace cairn::text::testing
