// Guesses change how fast an answer comes, and nothing else.
#include "llm/guesses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <vector>

#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"
#include "llm/model.hpp"
#include "llm/session.hpp"
#include "tiny_model.hpp"

namespace cairn::llm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Lookup, GivesWhatFollowedTheLastThreeTokensElseTwo) {
  Lookup lookup;
  const auto push = [&](std::initializer_list<Token> tokens) {
    for (const Token token : tokens) lookup.push(token);
  };
  push({1, 2, 3, 4, 5});
  EXPECT_THAT(lookup.guess(8), IsEmpty());
  push({2, 3});  // 2 3 stood before 4 5
  EXPECT_THAT(lookup.guess(8), ElementsAre(4, 5, 2, 3));
  EXPECT_THAT(lookup.guess(2), ElementsAre(4, 5));
  push({9, 1, 2, 3});  // 1 2 3 stood before 4, and 2 3 later before 9
  EXPECT_THAT(lookup.guess(1), ElementsAre(4));
  push({7, 8});
  EXPECT_THAT(lookup.guess(8), IsEmpty());
}

TEST(DraftDepth, GoesAsFarAsGuessesHoldAndRestsWhereTheyLose) {
  DraftDepth depth;
  EXPECT_EQ(depth.next(7), 0u);
  depth.learn(0, 0, 1.0);
  for (int i = 0; i < 50; ++i) {
    const size_t n = depth.next(7);
    ASSERT_GT(n, 0u) << i;
    depth.learn(n, n, 1.0 + 0.1 * static_cast<double>(n));
  }
  EXPECT_EQ(depth.next(7), 7u);
  // Nothing is right any more: of 2,000 tokens few are guessed, and never many in a row.
  size_t guessed = 0;
  double seconds = 0;
  for (int i = 0; i < 2000; ++i) {
    const size_t n = depth.next(7);
    guessed += n;
    const double step = 1.0 + 0.3 * static_cast<double>(n);
    seconds += step;
    depth.learn(n, 0, step);
  }
  EXPECT_LT(guessed, 150u);
  EXPECT_LT(seconds / 2000, 1 / 0.97);
  // It finds out when they are right again.
  size_t late = 0;
  for (int i = 0; i < 600; ++i) {
    const size_t n = depth.next(7);
    depth.learn(n, n, 1.0 + 0.3 * static_cast<double>(n));
    late += i >= 550 ? n : 0;
  }
  EXPECT_GT(late, 50u);
}

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

TEST(Speculation, TakesFewerStepsToTheSameText) {
  std::vector<Token> prompt;
  for (int i = 0; i < 60; ++i) prompt.push_back('a' + i % 26);
  Result results[2];
  std::vector<Token> cached[2];
  for (const bool speculate : {false, true}) {
    const auto engine = std::make_shared<fake::Engine>(260, 1024, 64, recital);
    engine->most_rows = 8;
    Session session(engine, std::make_shared<fake::Tokenizer>());
    results[speculate] =
        session.generate(prompt, options_of(speculate ? Speculation::lookup : Speculation::none, 300));
    cached[speculate] = session.cached();
    EXPECT_EQ(session.cached(), engine->sequence());
  }
  EXPECT_EQ(results[0].text, results[1].text);
  EXPECT_EQ(cached[0], cached[1]);
  const Statistics &plain = results[0].statistics, &fast = results[1].statistics;
  EXPECT_EQ(plain.decode_steps, 299u);
  EXPECT_EQ(plain.guessed_tokens, 0u);
  EXPECT_EQ(fast.decode_tokens, plain.decode_tokens);
  EXPECT_EQ(fast.decode_steps + fast.accepted_tokens, fast.decode_tokens);
  EXPECT_GT(fast.accepted_tokens, 30u);
  EXPECT_LE(fast.accepted_tokens, fast.guessed_tokens);
}

TEST(Speculation, EndsWhereTheContextAndTheTokensEnd) {
  std::vector<Token> prompt;
  for (int i = 0; i < 60; ++i) prompt.push_back('a' + i % 26);
  for (uint32_t most = 1; most < 40; ++most) {
    const auto engine = std::make_shared<fake::Engine>(260, 90, 64, recital);
    engine->most_rows = 8;
    Session session(engine, std::make_shared<fake::Tokenizer>());
    const Result result = session.generate(prompt, options_of(Speculation::lookup, most));
    EXPECT_EQ(result.tokens.size(), std::min(most, 31u));
    EXPECT_EQ(session.cached().size(), std::min(60 + most - 1, 90u));
  }
}

class RealSpeculation : public ::testing::Test {
 protected:
  RealSpeculation() { write_tiny_model(folder_.file("model.gguf"), {.context = 512}); }
  const TestFolder folder_;
};

TEST_F(RealSpeculation, GivesTheSameTextAtEveryTemperature) {
  const auto model = Model::load(folder_.file("model.gguf"));
  std::vector<Token> prompt;
  for (int i = 0; i < 80; ++i) prompt.push_back(40 + i * i % 7);  // repeats itself
  for (const engine::KvType kv : {engine::KvType::f16, engine::KvType::i8}) {
    const auto engine = model->make_engine({.context = 512, .threads = 1, .kv = kv});
    uint32_t guessed = 0;
    for (uint64_t seed = 0; seed < 12; ++seed) {
      Result results[2];
      for (const bool speculate : {false, true}) {
        Session session = model->make_session(engine);
        GenerateOptions options = options_of(speculate ? Speculation::lookup : Speculation::none, 150);
        options.sampler.temperature = seed == 0 ? 0.0f : 0.3f;
        options.sampler.repetition_penalty = seed % 2 == 0 ? 1.0f : 1.1f;
        options.sampler.seed = seed;
        results[speculate] = session.generate(prompt, options);
      }
      EXPECT_EQ(results[0].tokens, results[1].tokens) << seed;
      guessed += results[1].statistics.guessed_tokens;
    }
    EXPECT_GT(guessed, 50u);
  }
}

// Logits of the three letters depend on the last one.
class Letters : public fake::EngineOfTokens {
 public:
  Letters() : EngineOfTokens(260, 64, 64) { most_rows = 8; }
  static double probability(Token before, Token token) {
    double sum = 0;
    for (Token t = 'a'; t <= 'c'; ++t) sum += std::exp(logit(before, t));
    return std::exp(logit(before, token)) / sum;
  }

 private:
  static double logit(Token before, Token token) {
    return token == 'a' + (before - 'a' + 1) % 3 ? 1.0 : token == before ? 0.2 : -0.4;
  }
  void write_logits(const std::vector<int32_t>& sequence, float* logits) override {
    std::fill_n(logits, model_.parameters.vocabulary, -1e30f);
    for (Token t = 'a'; t <= 'c'; ++t) logits[t] = static_cast<float>(logit(sequence.back(), t));
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
  const auto engine = std::make_shared<Letters>();
  Session session(engine, std::make_shared<fake::Tokenizer>());
  constexpr int kAnswers = 3000;
  std::vector<double> seen(3);
  uint32_t accepted = 0, rejected = 0;
  for (uint64_t seed = 0; seed < kAnswers; ++seed) {
    GenerateOptions options = options_of(Speculation::lookup, 6);
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
  EXPECT_GT(accepted, 500u);
  EXPECT_GT(rejected, 500u);
  double chi = 0;
  for (size_t i = 0; i < 3; ++i) chi += std::pow(seen[i] - kAnswers * exact[i], 2) / (kAnswers * exact[i]);
  EXPECT_LT(chi, 13.8);
}

}  // namespace
}  // namespace cairn::llm
