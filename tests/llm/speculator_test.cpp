// How much is guessed, on machines whose steps take what a test says.
#include "llm/speculator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "base/expect_error.hpp"
#include "fake_stack.hpp"

namespace cairn::llm {
namespace {

using cairn::testing::expect_error;

constexpr uint32_t kVocabulary = 300;

int32_t alphabet(const std::vector<int32_t>& sequence) {
  return sequence.back() >= 'a' && sequence.back() < 'z' ? sequence.back() + 1 : 'a';
}

// A text that a machine decodes: steps take single · (1 + more · (rows − 1)).
class Decoder {
 public:
  Decoder(Speculator& speculator, engine::Engine& engine, Speculation kind, double more)
      : speculator_(speculator), sequence_(engine.make_sequence()), more_(more) {
    for (int i = 0; i < 60; ++i) text_.push_back('a' + i % 26);
    guesses_ = std::make_unique<Guesses>(kind, text_);
  }
  Speculator::Text text(size_t most = 64) {
    auto& read = dynamic_cast<fake::Sequence&>(*sequence_).tokens;
    read.assign(text_.begin(), text_.end() - 1);
    return {guesses_.get(), text_, sequence_.get(), most};
  }
  Guesses& guesses() { return *guesses_; }
  // The step's end: takes the guesses that are right and one token more.
  void check(const std::function<Token(const std::vector<Token>&)>& truth) {
    const std::vector<Token> guessed = guesses_->tokens();
    size_t right = 0;
    for (bool more = true; more;) {
      const Token token = truth(text_);
      more = right < guessed.size() && guessed[right] == token;
      right += more ? 1 : 0;
      text_.push_back(token);
      guesses_->push(token);
    }
    guesses_->learn(guessed.size(), right);
    made_ += guessed.size();
    tokens_ += right + 1;
  }
  void decode(int steps, const std::function<Token(const std::vector<Token>&)>& truth) {
    made_ = tokens_ = 0;
    seconds_ = 0;
    for (int i = 0; i < steps; ++i) {
      const Speculator::Text one = text();
      speculator_.guess({&one, 1}, 1, UINT32_MAX);
      const double step = 1 + more_ * static_cast<double>(guesses_->tokens().size());
      seconds_ += step;
      speculator_.learn(1 + guesses_->tokens().size(), step);
      check(truth);
    }
  }
  size_t made() const { return made_; }
  size_t tokens() const { return tokens_; }
  double rate() const { return static_cast<double>(tokens_) / seconds_; }

 private:
  Speculator& speculator_;
  std::unique_ptr<engine::Sequence> sequence_;
  double more_;
  std::vector<Token> text_;
  std::unique_ptr<Guesses> guesses_;
  size_t made_ = 0, tokens_ = 0;
  double seconds_ = 0;
};

std::shared_ptr<fake::Engine> engine_of(fake::Engine::Next next = alphabet) {
  auto engine = std::make_shared<fake::Engine>(kVocabulary, 1 << 20, 256, std::move(next));
  engine->most_rows = 8;
  return engine;
}

// Three letters, at random: what stood there before follows again one time in three.
Token chaos(const std::vector<Token>&) {
  static std::mt19937 random{7};
  return 'a' + static_cast<Token>(random() % 3);
}

TEST(Speculator, GoesAsFarAsGuessesHoldAndRestsWhereTheyLose) {
  const auto engine = engine_of();
  Speculator speculator(engine, kVocabulary);
  Decoder decoder(speculator, *engine, Speculation::lookup, 0.3);
  decoder.decode(3, alphabet);
  EXPECT_EQ(decoder.made(), 0u);  // what a step takes is not known yet
  decoder.decode(40, alphabet);
  decoder.decode(20, alphabet);
  EXPECT_EQ(decoder.made(), 20u * 7);
  // Nothing is repeated any more, though much seems to be.
  decoder.decode(3000, chaos);
  EXPECT_GT(decoder.rate(), 0.97);
  EXPECT_LT(decoder.made(), 600u);
  decoder.decode(600, alphabet);
  decoder.decode(50, alphabet);  // it has found out
  EXPECT_GT(decoder.made(), 300u);
}

TEST(Speculator, TakesNoGuessesWhereRowsCostAsMuchAsSteps) {
  const auto engine = engine_of();
  Speculator speculator(engine, kVocabulary);
  Decoder decoder(speculator, *engine, Speculation::lookup, 1.05);
  decoder.decode(1000, alphabet);
  EXPECT_GT(decoder.rate(), 0.97);
  EXPECT_LT(decoder.made(), 100u);
}

TEST(Speculator, StepsThatWereSlowForAWhileAreMeasuredAgain) {
  const auto engine = engine_of();
  Speculator speculator(engine, kVocabulary);
  Decoder slow(speculator, *engine, Speculation::lookup, 2),
      usual(speculator, *engine, Speculation::lookup, 0.1);
  slow.decode(60, alphabet);
  usual.decode(100, alphabet);
  usual.decode(100, alphabet);
  EXPECT_GT(usual.rate(), 3);
}

TEST(Speculator, SharesRowsAndLeavesAFullStepAlone) {
  const auto engine = engine_of();
  Speculator speculator(engine, kVocabulary);
  for (int i = 0; i < 3; ++i) speculator.learn(1, 1.0);
  for (int i = 0; i < 3; ++i) speculator.learn(8, 1.2);
  std::vector<std::unique_ptr<Decoder>> decoders;
  for (int i = 0; i < 8; ++i)
    decoders.push_back(std::make_unique<Decoder>(speculator, *engine, Speculation::lookup, 0.1));
  for (const size_t count : {1, 2, 3, 5, 7, 8}) {
    std::vector<Speculator::Text> texts;
    for (size_t i = 0; i < count; ++i) texts.push_back(decoders[i]->text());
    speculator.guess(texts, count, UINT32_MAX);
    size_t rows = count;
    for (size_t i = 0; i < count; ++i) rows += decoders[i]->guesses().tokens().size();
    EXPECT_EQ(rows, 8u) << count;  // all that there are, and no more
  }
  // Others decode beside the one that may guess.
  const Speculator::Text text = decoders[0]->text();
  speculator.guess({&text, 1}, 6, UINT32_MAX);
  EXPECT_EQ(decoders[0]->guesses().tokens().size(), 2u);
  speculator.guess({&text, 1}, 8, UINT32_MAX);
  EXPECT_EQ(decoders[0]->guesses().tokens().size(), 0u);
}

TEST(Speculator, ADraftReadsALongTextInPieces) {
  const auto engine = engine_of(), small = engine_of();
  Speculator speculator(engine, kVocabulary);
  speculator.set_draft(small);
  for (int i = 0; i < 3; ++i) speculator.learn(1, 1.0);
  Decoder decoder(speculator, *engine, Speculation::draft, 0.1);
  for (int i = 0; i < 3; ++i) {  // 59 tokens before the last one
    const Speculator::Text text = decoder.text();
    speculator.guess({&text, 1}, 1, 20);
    EXPECT_EQ(decoder.guesses().tokens().size() > 0, i == 2) << i;
  }
  EXPECT_THAT(small->passes, ::testing::Contains(20u).Times(2));
}

TEST(Speculator, ADraftThatFailsIsDoneWithout) {
  const auto engine = engine_of(), small = engine_of();
  Speculator speculator(engine, kVocabulary);
  speculator.set_draft(small);
  Decoder decoder(speculator, *engine, Speculation::draft, 0.1);
  small->on_token = [](const std::vector<int32_t>& tokens) {
    if (tokens.size() > 100) fail(ErrorCode::out_of_memory, "no pages");
  };
  decoder.decode(100, alphabet);
  EXPECT_GT(decoder.made(), 20u);
  decoder.decode(100, alphabet);
  EXPECT_EQ(decoder.made(), 0u);
}

TEST(Speculator, AStackDraftsInItsOwnSequencesAndLeavesThemAsTheyWere) {
  const auto stack = std::make_shared<fake::Stack>(kVocabulary, 1 << 20, 256, alphabet, alphabet);
  stack->most_rows = 8;
  Speculator speculator(stack, kVocabulary);
  Decoder decoder(speculator, *stack, Speculation::self, 0.1);
  decoder.decode(3, alphabet);
  const Speculator::Text text = decoder.text();
  const auto before = dynamic_cast<fake::Sequence&>(*text.sequence).tokens;
  speculator.guess({&text, 1}, 1, UINT32_MAX);
  EXPECT_GT(decoder.guesses().tokens().size(), 0u);
  EXPECT_EQ(dynamic_cast<fake::Sequence&>(*text.sequence).tokens, before);
  // In the middle of a draft, too.
  stack->on_draft = [count = 0](double) mutable {
    if (++count == 3) throw std::runtime_error("mine");
  };
  EXPECT_THROW(speculator.guess({&text, 1}, 1, UINT32_MAX), std::runtime_error);
  EXPECT_EQ(dynamic_cast<fake::Sequence&>(*text.sequence).tokens, before);
}

TEST(Speculator, TakesLookupWhereItFindsMoreAndDraftsElsewhere) {
  // The small model is always right, but slow beside looking up.
  int place = 0;
  const auto truth = [&place](const std::vector<Token>& text) {
    place = static_cast<int>(text.size());
    return place / 300 % 2 == 0 ? 'a' + place % 26 : 'a' + place * (place / 26 + 7) % 26;
  };
  const auto engine = engine_of(), small = engine_of([&](const std::vector<int32_t>&sequence) {
                                     const int at = static_cast<int>(sequence.size());
                                     return at / 300 % 2 == 0 ? 'a' + at % 26 : 'a' + at * (at / 26 + 7) % 26;
                                   });
  small->takes = 2e-4;
  Speculator speculator(engine, kVocabulary);
  speculator.set_draft(small);
  Decoder decoder(speculator, *engine, Speculation::automatic, 0.1);
  decoder.decode(200, truth);
  EXPECT_GT(decoder.rate(), 3);
  const size_t steps = small->passes.size();
  EXPECT_GT(steps, 0u);
  EXPECT_LT(steps, decoder.tokens());
}

TEST(Speculator, SaysWhatCannotBeGuessedHere) {
  const auto engine = engine_of();
  Speculator speculator(engine, kVocabulary);
  EXPECT_NO_THROW(speculator.check(Speculation::automatic));
  expect_error(ErrorCode::invalid_argument, "a small model that drafts: there is none",
               [&] { speculator.check(Speculation::draft); });
  expect_error(ErrorCode::invalid_argument, "it is no stack", [&] { speculator.check(Speculation::self); });
  speculator.set_draft(engine_of());
  EXPECT_NO_THROW(speculator.check(Speculation::draft));
}

}  // namespace
}  // namespace cairn::llm
