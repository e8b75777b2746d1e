// Answers that a grammar holds, alone and beside others, with guesses and without.
#include "llm/constraint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/expect_error.hpp"
#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"
#include "llm/scheduler.hpp"

namespace cairn::llm {
namespace {

using cairn::testing::expect_error;

// One of some texts; its bytes are tokens, as the fake tokenizer has them.
class Words : public grammar::Grammar {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {}
  std::unique_ptr<grammar::Matcher> begin() const override { return std::make_unique<Matching>(words_); }

 private:
  class Matching : public grammar::Matcher {
   public:
    explicit Matching(const std::vector<std::string>& words) : words_(words) {}
    void allowed(std::span<uint32_t> bits) override {
      std::fill(bits.begin(), bits.end(), 0);
      for (const std::string& word : words_) {
        if (word.starts_with(text_) && word.size() > text_.size()) {
          const auto byte = static_cast<unsigned char>(word[text_.size()]);
          bits[byte / 32] |= uint32_t{1} << byte % 32;
        }
      }
      if (can_end()) bits[fake::kEnd / 32] |= uint32_t{1} << fake::kEnd % 32;
    }
    bool accept(Token token) override {
      if (token == fake::kEnd) return can_end();
      text_ += static_cast<char>(token);
      for (const std::string& word : words_) {
        if (word.starts_with(text_)) return true;
      }
      text_.pop_back();
      return false;
    }
    void rollback(size_t tokens) override { text_.resize(text_.size() - tokens); }
    bool can_end() const override { return std::find(words_.begin(), words_.end(), text_) != words_.end(); }

   private:
    const std::vector<std::string>& words_;
    std::string text_;
  };

  std::vector<std::string> words_;
};

// Allows nothing after the first token, or fails.
class Broken : public grammar::Grammar {
 public:
  explicit Broken(bool throws) : throws_(throws) {}
  std::unique_ptr<grammar::Matcher> begin() const override { return std::make_unique<Matching>(throws_); }

 private:
  struct Matching : grammar::Matcher {
    explicit Matching(bool throws) : throws_(throws) {}
    void allowed(std::span<uint32_t> bits) override {
      if (taken_ > 0 && throws_) fail(ErrorCode::unsupported, "the grammar: it broke");
      std::fill(bits.begin(), bits.end(), taken_ > 0 ? 0 : ~uint32_t{0});
    }
    bool accept(Token) override { return taken_++ == 0; }
    void rollback(size_t tokens) override { taken_ -= tokens; }
    bool can_end() const override { return false; }
    bool throws_;
    size_t taken_ = 0;
  };
  bool throws_;
};

const std::vector<std::string> kWords = {"the cat sat; the cat sat; the cat sat; the cat ran", "the dog",
                                         "the doghouse"};

// Recites the alphabet; with guesses, several tokens a step.
std::shared_ptr<fake::Engine> engine() {
  auto made = std::make_shared<fake::Engine>(260, 512, 64, [](const std::vector<int32_t>& sequence) {
    return sequence.back() >= 'a' && sequence.back() < 'z' ? sequence.back() + 1 : 'a';
  });
  made->most_rows = 8;
  made->takes = 1e-4;
  return made;
}

GenerateOptions options(std::shared_ptr<const grammar::Grammar> grammar, float temperature, uint64_t seed,
                        Speculation speculation) {
  GenerateOptions made;
  made.max_tokens = 100;
  made.sampler.temperature = temperature;
  made.sampler.top_k = 0;
  made.sampler.seed = seed;
  made.speculation = speculation;
  made.grammar = std::move(grammar);
  return made;
}

const std::vector<Token> kPrompt = {'t', 'h', 'e', ' ', 'c', 'a', 't', ' '};

TEST(Constraint, AnswersAreOfTheGrammarAtEveryTemperature) {
  const auto words = std::make_shared<Words>(kWords);
  Session session(engine(), std::make_shared<fake::Tokenizer>());
  Scheduler scheduler(engine(), std::make_shared<fake::Tokenizer>());
  uint32_t guessed = 0, accepted = 0;
  for (const float temperature : {0.0f, 1.0f, 20.0f}) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const auto plain = session.generate(kPrompt, options(words, temperature, seed, Speculation::none));
      EXPECT_THAT(kWords, ::testing::Contains(plain.text));
      EXPECT_EQ(plain.finish, FinishReason::stop);
      const auto with = session.generate(kPrompt, options(words, temperature, seed, Speculation::lookup));
      EXPECT_EQ(with.text, plain.text);
      guessed += with.statistics.guessed_tokens;
      accepted += with.statistics.accepted_tokens;
      std::vector<Scheduler::Ticket> tickets;
      for (const auto kind : {Speculation::none, Speculation::lookup})
        tickets.push_back(
            scheduler.submit({.prompt = kPrompt, .options = options(words, temperature, seed, kind)}));
      tickets.push_back(
          scheduler.submit({.prompt = kPrompt, .options = options(nullptr, 0, 0, Speculation::none)}));
      EXPECT_EQ(tickets[0].wait().text, plain.text);
      EXPECT_EQ(tickets[1].wait().text, plain.text);
      EXPECT_EQ(tickets[2].wait().text.substr(0, 3), "abc") << "beside them it is free";
    }
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_GE(guessed, accepted);
}

TEST(Constraint, GuessesThatItForbidsAreNotRead) {
  // After the prompt's "cat " lookup would guess what followed there, which only one word goes on with.
  const auto words = std::make_shared<Words>(std::vector<std::string>{"the cat 12", "the cat 34"});
  const std::string prompt = "the cat abcdef the cat abcdef the cat abcdef ";
  Session session(engine(), std::make_shared<fake::Tokenizer>());
  const auto result = session.generate({std::vector<Token>(prompt.begin(), prompt.end())},
                                       options(words, 0, 0, Speculation::lookup));
  EXPECT_EQ(result.text, "the cat 12");
  for (const uint32_t token : session.cached()) EXPECT_LT(token, 256u);
}

TEST(Constraint, AGrammarThatFailsIsAnErrorAndNotFreeText) {
  for (const bool throws : {false, true}) {
    const auto broken = std::make_shared<Broken>(throws);
    const auto code = throws ? ErrorCode::unsupported : ErrorCode::invalid_argument;
    const char* why = throws ? "it broke" : "the grammar allows none of the model's tokens here";
    Session session(engine(), std::make_shared<fake::Tokenizer>());
    expect_error(code, why, [&] { session.generate(kPrompt, options(broken, 0, 0, Speculation::lookup)); });
    EXPECT_EQ(session.generate(kPrompt, options(nullptr, 0, 0, Speculation::none)).text.substr(0, 3), "abc");
    Scheduler scheduler(engine(), std::make_shared<fake::Tokenizer>());
    auto other = scheduler.submit({.prompt = kPrompt, .options = options(nullptr, 0, 0, Speculation::none)});
    auto ticket =
        scheduler.submit({.prompt = kPrompt, .options = options(broken, 0, 0, Speculation::lookup)});
    expect_error(code, why, [&] { ticket.wait(); });
    EXPECT_EQ(other.wait().tokens.size(), 100u);
  }
}

TEST(Constraint, ItsEndIsTheAnswers) {
  auto with = options(std::make_shared<Words>(kWords), 0, 0, Speculation::none);
  with.ignore_end = true;
  Session session(engine(), std::make_shared<fake::Tokenizer>());
  expect_error(ErrorCode::invalid_argument, "ends where the grammar does",
               [&] { session.generate(kPrompt, with); });
  Scheduler scheduler(engine(), std::make_shared<fake::Tokenizer>());
  expect_error(ErrorCode::invalid_argument, "ends where the grammar does",
               [&] { scheduler.submit({.prompt = kPrompt, .options = with}); });
}

TEST(Constraint, ALengthCutsItShort) {
  auto with = options(std::make_shared<Words>(kWords), 0, 0, Speculation::none);
  with.max_tokens = 5;
  Session session(engine(), std::make_shared<fake::Tokenizer>());
  const auto result = session.generate(kPrompt, with);
  EXPECT_EQ(result.text, "the c");
  EXPECT_EQ(result.finish, FinishReason::length);
}

TEST(Constraint, BannedTokensLeaveNothingOrTheRest) {
  auto with = options(std::make_shared<Words>(kWords), 0, 0, Speculation::none);
  with.sampler.logit_bias = {{'c', -std::numeric_limits<float>::infinity()}};
  Session session(engine(), std::make_shared<fake::Tokenizer>());
  EXPECT_THAT(session.generate(kPrompt, with).text, ::testing::StartsWith("the dog"));
  with.sampler.logit_bias = {{'t', -std::numeric_limits<float>::infinity()}};
  expect_error(ErrorCode::invalid_argument, "bans every token", [&] { session.generate(kPrompt, with); });
}

TEST(Answer, ControlTokensThatAreShownWriteTheirText) {
  auto with = options(nullptr, 0, 0, Speculation::none);
  auto calling = std::make_shared<fake::Engine>(260, 512, 64, [](const std::vector<int32_t>& sequence) {
    return sequence.size() == kPrompt.size() ? fake::kUser : fake::kEnd;
  });
  Session session(calling, std::make_shared<fake::Tokenizer>());
  EXPECT_EQ(session.generate(kPrompt, with).text, "");
  with.shown = {fake::kUser};
  EXPECT_EQ(session.generate(kPrompt, with).text, "<|user|>");
}

}  // namespace
}  // namespace cairn::llm
