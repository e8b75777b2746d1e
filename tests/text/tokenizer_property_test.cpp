// What must hold for any text: what is encoded decodes to itself, and no size or shape of text is slow.
#include <chrono>
#include <thread>

#include "base/utf8.hpp"
#include "text/tokenizer_support.hpp"

namespace cairn::text::testing {
namespace {

std::string without_blanks(std::string text) {  // U+2581 is a space to SentencePiece
  for (size_t at; (at = text.find("\u2581")) != std::string::npos;) text.replace(at, 3, " ");
  return text;
}

TEST(TokenizerProperty, ByteLevelRoundTrip) {
  std::mt19937 random(1);
  for (const char* pre :
       {"gpt-2", "smollm", "llama-bpe", "deepseek-llm", "deepseek-v3", "gpt-4o", "default"}) {
    const auto tokenizer = byte_level(pre).tokenizer();
    for (int i = 0; i < 300; ++i) {
      const std::string text = random_text(random, random() % 60);
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << pre;
    }
  }
}

TEST(TokenizerProperty, SentencePieceRoundTrip) {
  std::mt19937 random(2);
  for (const char* name : {"sentencepiece_bytes", "sentencepiece_unused"}) {
    const auto tokenizer = sentencepiece(golden(std::string(name) + ".json")).tokenizer();
    for (int i = 0; i < 500; ++i) {
      const std::string text = without_blanks(random_text(random, random() % 60));
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << name;
    }
  }
}

TEST(TokenizerProperty, AnyBytes) {
  std::mt19937 random(3);
  const auto bpe = byte_level("gpt-2").tokenizer();
  const auto pieces = sentencepiece(golden("sentencepiece_bytes.json")).tokenizer();
  for (int i = 0; i < 500; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 3 ? random() : 0xC0 + random() % 0x40);
    std::string buffer;
    const std::string text(valid_utf8(bytes, buffer));
    EXPECT_EQ(bpe->decode(bpe->encode(bytes)), text);
    EXPECT_EQ(pieces->decode(pieces->encode(bytes)), text);
  }
}

// Pieces through Utf8Stream are what decode() says, token by token.
TEST(TokenizerProperty, StreamedPieces) {
  const auto tokenizer = byte_level("gpt-2").tokenizer();
  for (const HardCase& one : hard_cases()) {
    Utf8Stream stream;
    std::string out;
    for (Token token : tokenizer->encode(one.bytes)) out += stream.push(tokenizer->piece(token));
    EXPECT_EQ(out + stream.finish(), one.text);
  }
}

// One tokenizer serves all threads.
TEST(TokenizerProperty, SharedBetweenThreads) {
  const auto tokenizer = byte_level("qwen2").tokenizer();
  const auto cases = hard_cases();
  std::vector<std::string> decoded(4);
  {
    std::vector<std::jthread> threads;
    for (std::string& out : decoded) {
      threads.emplace_back([&] {
        for (const HardCase& one : cases) out += tokenizer->decode(tokenizer->encode(one.bytes));
      });
    }
  }
  for (const std::string& out : decoded) EXPECT_EQ(out, decoded[0]);
  EXPECT_FALSE(decoded[0].empty());
}

// A long run of one kind of character is where a quadratic loop shows: it would take minutes.
TEST(TokenizerProperty, LongRunsAreLinear) {
  constexpr size_t size = 1 << 18;
  const auto pieces = sentencepiece(golden("sentencepiece_bytes.json")).tokenizer();
  for (const char* pre : {"gpt-2", "qwen2", "deepseek-llm", "gpt-4o", "default"}) {
    const auto bpe = byte_level(pre).tokenizer();
    for (const std::string unit : {"a", " ", "\n", "1", "!", "\u4e2d", " \n", "A", "\t"}) {
      std::string text;
      while (text.size() < size) text += unit;
      text += "x";
      const auto begin = std::chrono::steady_clock::now();
      const Ids ids = bpe->encode(text);
      EXPECT_EQ(bpe->decode(ids), text);
      if (pre == std::string("gpt-2")) {
        EXPECT_EQ(pieces->decode(pieces->encode(text)), text);
      }
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60))
          << pre << " '" << unit << "'";
    }
  }
}

}  // namespace
}  // namespace cairn::text::testing
