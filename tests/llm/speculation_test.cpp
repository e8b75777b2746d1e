// Guesses change how fast an answer comes, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/expect_error.hpp"
#include "fake_stack.hpp"
#include "fake_tokenizer.hpp"
#include "llm/draft_model.hpp"
#include "llm/model.hpp"
#include "llm/session.hpp"
#include "resident/plain_stack.hpp"
#include "tiny_model.hpp"

namespace cairn::llm {
namespace {

using cairn::testing::expect_error;

GenerateOptions options_of(Speculation speculation, uint32_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.ignore_end = true;
  options.speculation = speculation;
  options.sampler.temperature = 0;
  return options;
}

// Repeats the alphabet, but every third time 'h' is followed by 'z'.
int32_t recital(const std::vector<int32_t>& sequence) {
  const int32_t last = sequence.back();
  if (last == 'h' && sequence.size() / 26 % 3 == 2) return 'z';
  return last >= 'a' && last < 'z' ? last + 1 : 'a';
}
// … as one does who does not know about the 'h'.
int32_t rough(const std::vector<int32_t>& sequence) {
  return sequence.back() >= 'a' && sequence.back() < 'z' ? sequence.back() + 1 : 'a';
}

std::vector<Token> alphabets(int size) {
  std::vector<Token> prompt;
  for (int i = 0; i < size; ++i) prompt.push_back('a' + i % 26);
  return prompt;
}

// A session on a stack, with a small model, so that every kind of guess can be made. Steps take a time of
// their own, so that guesses pay.
struct Fixture {
  explicit Fixture(uint32_t context = 1024)
      : engine(std::make_shared<fake::Stack>(260, context, 64, recital, rough)),
        small(std::make_shared<fake::Engine>(260, context, 64, rough)),
        session(engine, std::make_shared<fake::Tokenizer>()) {
    engine->most_rows = small->most_rows = 8;
    engine->takes = 2e-4;
    session.set_draft(small);
  }
  std::shared_ptr<fake::Stack> engine;
  std::shared_ptr<fake::Engine> small;
  Session session;
};

constexpr std::array kKinds = {Speculation::lookup, Speculation::draft, Speculation::self,
                               Speculation::automatic};

TEST(Speculation, TakesFewerStepsToTheSameText) {
  Fixture plain;
  const Result expected = plain.session.generate(alphabets(60), options_of(Speculation::none, 300));
  EXPECT_EQ(expected.statistics.decode_steps, 299u);
  EXPECT_EQ(expected.statistics.guessed_tokens, 0u);
  for (const Speculation kind : kKinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    Fixture f;
    const Result result = f.session.generate(alphabets(60), options_of(kind, 300));
    EXPECT_EQ(result.text, expected.text);
    EXPECT_EQ(f.session.cached(), plain.session.cached());
    EXPECT_EQ(f.session.cached(), dynamic_cast<const fake::Sequence&>(f.session.sequence()).tokens);
    const Statistics& s = result.statistics;
    EXPECT_EQ(s.decode_tokens, expected.statistics.decode_tokens);
    EXPECT_EQ(s.decode_steps + s.accepted_tokens, s.decode_tokens);
    EXPECT_GT(s.accepted_tokens, 100u);
    EXPECT_LT(s.accepted_tokens, s.guessed_tokens);
    EXPECT_EQ(f.engine->drafted > 0, kind == Speculation::self);
    EXPECT_EQ(f.small->forwarded() > 0, kind == Speculation::draft);
  }
}

TEST(Speculation, EndsWhereTheContextAndTheTokensEnd) {
  for (const Speculation kind : kKinds) {
    for (uint32_t most = 1; most < 40; ++most) {
      Fixture f(90);
      const Result result = f.session.generate(alphabets(60), options_of(kind, most));
      EXPECT_EQ(result.tokens.size(), std::min(most, 31u));
      EXPECT_EQ(f.session.cached().size(), std::min(60 + most - 1, 90u));
    }
  }
}

// What does not pay is tried again after some steps: not in the last one.
TEST(Speculation, TrialsEndThereToo) {
  for (uint32_t most = 16; most < 40; ++most) {
    Fixture f;
    f.small->takes = 4e-3;
    EXPECT_EQ(f.session.generate(alphabets(60), options_of(Speculation::draft, most)).tokens.size(), most);
  }
}

TEST(Speculation, ADraftGoesOnWhereTheLastAnswerEnded) {
  Fixture f;
  std::vector<Token> text = alphabets(60);
  const Result first = f.session.generate(text, options_of(Speculation::draft, 100));
  text.insert(text.end(), first.tokens.begin(), first.tokens.end());
  const uint32_t before = f.small->forwarded();
  f.session.generate(text, options_of(Speculation::draft, 20));
  EXPECT_LT(f.small->forwarded() - before, 60u);
}

TEST(Speculation, IsCancelledAndStoppedAsWithout) {
  for (const Speculation kind : kKinds) {
    for (const uint32_t after : {1u, 7u, 40u, 99u}) {
      Fixture f;
      uint32_t heard = 0;
      const Result result = f.session.generate(alphabets(60), options_of(kind, 300),
                                               [&](const TokenEvent&) { return ++heard < after; });
      EXPECT_EQ(result.finish, FinishReason::cancelled);
      EXPECT_EQ(result.tokens.size(), after);
      EXPECT_EQ(f.session.cached(), dynamic_cast<const fake::Sequence&>(f.session.sequence()).tokens);
      heard = 0;
      EXPECT_THROW(f.session.generate(alphabets(60), options_of(kind, 300),
                                      [&](const TokenEvent&) -> bool {
                                        if (++heard == after) throw std::runtime_error("mine");
                                        return true;
                                      }),
                   std::runtime_error);
      EXPECT_EQ(f.session.generate(alphabets(60), options_of(kind, 50)).tokens.size(), 50u);
    }
  }
}

TEST(Speculation, GuessesAreWorthNoPage) {
  Fixture f;
  f.engine->on_token = [](const std::vector<int32_t>& tokens) {
    if (tokens.size() > 112) fail(ErrorCode::out_of_memory, "no room");
  };
  uint32_t heard = 0;
  EXPECT_THROW(f.session.generate(alphabets(60), options_of(Speculation::lookup, 200),
                                  [&](const TokenEvent&) { return ++heard < 200; }),
               Error);
  EXPECT_EQ(heard, 53u);  // all that there was room for: 52 positions, and what the last one says
}

TEST(Speculation, OfOneKindNeedsADraftAndTheOtherAStack) {
  auto engine = std::make_shared<fake::Engine>(260, 1024, 64, recital);
  Session session(engine, std::make_shared<fake::Tokenizer>());
  expect_error(ErrorCode::invalid_argument, "needs a small model",
               [&] { session.generate(alphabets(9), options_of(Speculation::draft, 2)); });
  expect_error(ErrorCode::invalid_argument, "no stack",
               [&] { session.generate(alphabets(9), options_of(Speculation::self, 2)); });
  EXPECT_TRUE(engine->passes.empty());  // said before the prompt is read
}

class RealSpeculation : public ::testing::Test {
 protected:
  RealSpeculation() {
    write_tiny_model(path("model"), {.context = 512});
    resident::write_plain_stack(path("model"), path("stack"));
  }
  std::string path(const std::string& name) const { return folder_.file(name + ".gguf"); }
  const TestFolder folder_;
};

// A stack of the model, for which the model itself drafts.
TEST_F(RealSpeculation, GivesTheSameTextAtEveryTemperature) {
  const auto model = Model::load(path("stack")), small = Model::load(path("model"));
  std::vector<Token> prompt;
  for (int i = 0; i < 80; ++i) prompt.push_back(40 + i * i % 7);  // repeats itself
  for (const engine::KvType kv : {engine::KvType::f16, engine::KvType::q4}) {
    const engine::Options engine_options{.context = 512, .threads = 1, .kv = kv};
    const auto engine = model->make_engine(engine_options);
    const auto draft = make_draft(*model, *small, engine_options);
    std::array<uint32_t, kKinds.size()> guessed{};
    for (uint64_t seed = 0; seed < 6; ++seed) {
      GenerateOptions options = options_of(Speculation::none, 120);
      options.sampler.temperature = seed == 0 ? 0.0f : 0.3f;
      options.sampler.repetition_penalty = seed % 2 == 0 ? 1.0f : 1.1f;
      options.sampler.seed = seed;
      Session plain = model->make_session(engine);
      const Result expected = plain.generate(prompt, options);
      for (size_t i = 0; i < kKinds.size(); ++i) {
        Session session = model->make_session(engine);
        session.set_draft(draft);
        options.speculation = kKinds[i];
        const Result result = session.generate(prompt, options);
        EXPECT_EQ(result.tokens, expected.tokens) << seed << ", " << i;
        guessed[i] += result.statistics.guessed_tokens;
      }
    }
    EXPECT_THAT(guessed, ::testing::Each(::testing::Gt(0u)));
  }
}

TEST_F(RealSpeculation, ADraftOfAnotherVocabularyIsRefused) {
  write_tiny_model(path("other"), {.control = {"<|im_start|>", "<|other|>"}});
  write_tiny_model(path("more"), {.control = {"<|im_start|>", "<|im_end|>", "<|more|>"}});
  write_tiny_model(path("padded"), {.control = {"<|im_start|>", "<|im_end|>", "[PAD402]", "[PAD403]"}});
  const auto model = Model::load(path("model"));
  const auto check = [&](const char* name) { check_draft(*model, *Model::load(path(name))); };
  EXPECT_NO_THROW(check("stack"));
  EXPECT_NO_THROW(check("padded"));
  expect_error(ErrorCode::invalid_argument, "is '<|other|>', not '<|im_end|>'", [&] { check("other"); });
  expect_error(ErrorCode::invalid_argument, "its vocabulary has ", [&] { check("more"); });
}

// A stack whose memory is taken away and given back while it drafts for itself: the text may change with the
// weights, and nothing else goes wrong.
TEST_F(RealSpeculation, AStackDraftsWhileItsMemoryMoves) {
  const auto model = Model::load(path("stack"));
  const auto engine = model->make_engine({.context = 512, .threads = 1});
  Session session = model->make_session(engine);
  const std::vector<Token> prompt(20, 50);
  session.generate(prompt, options_of(Speculation::none, 2));
  const engine::MemoryStatus all = engine->memory();
  uint32_t heard = 0;
  const Result result = session.generate(prompt, options_of(Speculation::self, 200), [&](const TokenEvent&) {
    ++heard;
    if (heard % 10 == 0) engine->set_memory(heard % 20 == 0 ? 0 : all.process + (1 << 20));
    return true;
  });
  EXPECT_EQ(result.tokens.size(), 200u);
  EXPECT_GT(result.statistics.guessed_tokens, 0u);
  engine->set_memory(0);
}

// Logits of the three letters depend on the last one; those of a draft are others, and so are its guesses.
class Letters : public fake::Stack {
 public:
  Letters() : Stack(260, 64, 64, rough, rough) { most_rows = 8; }
  static double probability(Token before, Token token) {
    double sum = 0;
    for (Token t = 'a'; t <= 'c'; ++t) sum += std::exp(logit(before, t));
    return std::exp(logit(before, token)) / sum;
  }
  bool other = false;

 private:
  static double logit(Token before, Token token) {
    return token == 'a' + (before - 'a' + 1) % 3 ? 1.0 : token == before ? 0.2 : -0.4;
  }
  void write_logits(const std::vector<int32_t>& sequence, float* logits) override {
    std::fill_n(logits, model_.parameters.vocabulary, -1e30f);
    const bool draft = drafts() || other;
    for (Token t = 'a'; t <= 'c'; ++t)
      logits[t] = static_cast<float>(draft ? 3 * logit(sequence.back(), t) + (t == 'b' ? 1 : 0)
                                           : logit(sequence.back(), t));
  }
};

// χ² of what is sampled as the fourth token after "…c" against its exact distribution: with 2 degrees of
// freedom it exceeds 13.8 once in a thousand times.
TEST(Speculation, KeepsTheDistribution) {
  std::vector<double> exact(3);
  for (Token x = 'a'; x <= 'c'; ++x) {
    for (Token y = 'a'; y <= 'c'; ++y) {
      for (Token z = 'a'; z <= 'c'; ++z) {
        for (Token w = 'a'; w <= 'c'; ++w)
          exact[static_cast<size_t>(w - 'a')] += Letters::probability('c', x) * Letters::probability(x, y) *
                                                 Letters::probability(y, z) * Letters::probability(z, w);
      }
    }
  }
  std::vector<Token> prompt;
  for (int i = 0; i < 30; ++i) prompt.push_back('a' + i % 3);
  for (const Speculation kind : kKinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    const auto engine = std::make_shared<Letters>(), small = std::make_shared<Letters>();
    engine->takes = 3e-5;
    small->other = true;
    Session session(engine, std::make_shared<fake::Tokenizer>());
    session.set_draft(small);
    constexpr int kAnswers = 3000;
    std::vector<double> seen(3);
    uint32_t accepted = 0, rejected = 0;
    for (uint64_t seed = 0; seed < kAnswers; ++seed) {
      GenerateOptions options = options_of(kind, 6);
      options.sampler.temperature = 1;
      options.sampler.top_k = 0;
      options.sampler.top_p = 1;
      options.sampler.min_p = 0;
      options.sampler.seed = seed;
      const Result result = session.generate(prompt, options);
      seen[static_cast<size_t>(result.tokens.at(3) - 'a')] += 1;
      accepted += result.statistics.accepted_tokens;
      rejected += result.statistics.guessed_tokens - result.statistics.accepted_tokens;
    }
    EXPECT_GT(accepted, 200u);
    EXPECT_GT(rejected, 200u);
    double chi = 0;
    for (size_t i = 0; i < 3; ++i) chi += std::pow(seen[i] - kAnswers * exact[i], 2) / (kAnswers * exact[i]);
    EXPECT_LT(chi, 13.8);
  }
}

}  // namespace
}  // namespace cairn::llm
