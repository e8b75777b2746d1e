#include "text/reasoning.hpp"

#include <gtest/gtest.h>

#include "llm/fake_tokenizer.hpp"
#include "text/template_golden.hpp"

namespace cairn::text {
namespace {

std::string marks_of(const std::string& family, std::vector<std::string> tokens = {}) {
  const auto found = reasoning_marks(ChatTemplate(read_file(template_data(family + ".jinja"))),
                                     llm::fake::Tokenizer(std::move(tokens)));
  return found ? found->open + found->close : "none";
}

TEST(ReasoningMarks, AreThoseThatTheTemplateWrites) {
  EXPECT_EQ(marks_of("qwen3"), "<think></think>");
  EXPECT_EQ(marks_of("glm-4.5"), "<think></think>");
  EXPECT_EQ(marks_of("seed-oss"), "<seed:think></seed:think>");
}

TEST(ReasoningMarks, AreThoseThatTheTemplateOrTheVocabularyKnows) {
  EXPECT_EQ(marks_of("deepseek-r1"), "<think></think>");
  EXPECT_EQ(marks_of("smollm3"), "<think></think>");
  EXPECT_EQ(marks_of("chatml", {"<think>", "</think>"}), "<think></think>");
}

TEST(ReasoningMarks, AreNoneWhereAModelDoesNotReason) {
  for (const char* family : {"chatml", "llama-3", "gemma-3", "mistral-nemo", "phi-3"})
    EXPECT_EQ(marks_of(family), "none") << family;
  // Its channels' frame is that of all messages.
  EXPECT_EQ(marks_of("gpt-oss"), "none");
}

TEST(ReasoningMarks, AreOpenedByAPromptThatEndsWithThem) {
  const ReasoningMarks marks{"<think>", "</think>"};
  EXPECT_TRUE(ends_in_reasoning("<|assistant|><think>\n", marks));
  EXPECT_FALSE(ends_in_reasoning("<|assistant|><think>\n\n</think>\n\n", marks));
  EXPECT_FALSE(ends_in_reasoning("<|assistant|>", marks));
}

struct Case {
  const char *answer, *reasoning, *text;
  bool opened = false;
};

// Whatever it is cut into, the same comes out.
TEST(ReasoningSplitter, TellsReasoningFromText) {
  const Case cases[] = {
      {"<think>\nHm.\n\nYes.\n</think>\n\nIt is 2.\n", "Hm.\n\nYes.", "It is 2.\n"},
      {"\n<think></think>It", "", "It"},
      {"Hm </thin k> <\n</think>It</think>", "Hm </thin k> <", "It</think>", true},
      {"cut off <", "cut off <", "", true},
      {" \n", "", "", true},
      {"It <think>is</think>", "", "It <think>is</think>"},
      {"  It", "", "  It"},
      {"<thinner>", "", "<thinner>"},
      {"<thi", "", "<thi"},
      {"", "", ""},
  };
  for (const Case& one : cases) {
    const std::string answer = one.answer;
    for (size_t piece = 1; piece <= answer.size() + 1; ++piece) {
      ReasoningSplitter splitter({"<think>", "</think>"}, one.opened);
      ReasoningSplitter::Split all;
      const auto add = [&](const ReasoningSplitter::Split& split) {
        all.reasoning += split.reasoning;
        all.text += split.text;
      };
      for (size_t at = 0; at < answer.size(); at += piece) add(splitter.push(answer.substr(at, piece)));
      add(splitter.finish());
      EXPECT_EQ(all.reasoning, one.reasoning) << answer << " in pieces of " << piece;
      EXPECT_EQ(all.text, one.text) << answer << " in pieces of " << piece;
    }
  }
}

TEST(ReasoningSplitter, HoldsBackNoMoreThanItMust) {
  ReasoningSplitter splitter({"<think>", "</think>"}, true);
  EXPECT_EQ(splitter.push("one two").reasoning, "one two");
  EXPECT_EQ(splitter.push(" three </").reasoning, " three");
  EXPECT_TRUE(splitter.in_reasoning());
  EXPECT_EQ(splitter.push("b>").reasoning, " </b>");
  EXPECT_EQ(splitter.push("</think>").reasoning, "");
  EXPECT_FALSE(splitter.in_reasoning());
  EXPECT_EQ(splitter.push("\n\na").text, "a");
  EXPECT_EQ(splitter.push("\n").text, "\n");
}

}  // namespace
}  // namespace cairn::text
