#include "llm/logprobs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"
#include "graph/golden_models.hpp"
#include "llm/model.hpp"
#include "llm/scheduler.hpp"

namespace cairn::llm {
namespace {

using testing::ElementsAre;

// From the definition, in double precision.
double by_definition(std::span<const float> logits, Token token) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  return std::log(std::exp(static_cast<double>(logits[static_cast<size_t>(token)])) / sum);
}

TEST(Logprobs, AreTheLogarithmOfSoftmax) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 5);
  std::vector<float> logits(50'000);
  for (float& logit : logits) logit = normal(random);
  logits[7] = logits[9] = 40;
  logits[49'999] = 30;
  const TokenLogprobs found = logprobs_of(logits, 123, 3);
  EXPECT_NEAR(found.logprob, by_definition(logits, 123), 1e-4);
  ASSERT_EQ(found.top.size(), 3u);
  EXPECT_EQ(found.top[0].token, 7);
  EXPECT_EQ(found.top[1].token, 9);
  EXPECT_EQ(found.top[2].token, 49'999);
  for (const auto& likely : found.top) EXPECT_NEAR(likely.logprob, by_definition(logits, likely.token), 1e-5);
}

TEST(Logprobs, AreOfFewTokensToo) {
  const std::vector<float> logits = {0, 1e30f};
  const TokenLogprobs found = logprobs_of(logits, 1, 20);
  EXPECT_EQ(found.logprob, 0);
  ASSERT_EQ(found.top.size(), 2u);
  EXPECT_EQ(found.top[0].token, 1);
  EXPECT_EQ(logprobs_of(logits, 2, 0).logprob, -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(logprobs_of(logits, 0, 0).top.empty());
}

constexpr uint32_t kVocabulary = 300;

struct Fixture {
  std::shared_ptr<fake::Engine> engine = std::make_shared<fake::Engine>(
      kVocabulary, 512, 256,
      [](const auto& sequence) { return 'a' + static_cast<int32_t>(sequence.size() % 7); });
  std::shared_ptr<fake::Tokenizer> tokenizer =
      std::make_shared<fake::Tokenizer>(std::vector<std::string>(kVocabulary - 260, "xy"));
};

// Of a logit of 10 among zeros, which is what the fake engine says.
const double kSure = 10 - std::log(std::exp(10.0) + kVocabulary - 1);

std::vector<std::pair<Token, float>> told(const std::function<Result(const TokenCallback&)>& run) {
  std::vector<std::pair<Token, float>> all;
  run([&](const TokenEvent& event) {
    EXPECT_NE(event.logprobs, nullptr);
    if (event.logprobs == nullptr) return false;
    EXPECT_EQ(event.logprobs->token, event.token);
    EXPECT_EQ(event.logprobs->top.size(), 2u);
    EXPECT_NEAR(event.logprobs->top[0].logprob, kSure, 1e-5);
    all.emplace_back(event.token, event.logprobs->logprob);
    return true;
  });
  return all;
}

// Banned, penalised and drawn at a temperature: how likely it was is told all the same.
TEST(Logprobs, ComeWithEachTokenAsTheModelSaidIt) {
  const Fixture f;
  GenerateOptions options;
  options.max_tokens = 3;
  options.logprobs = 2;
  options.sampler.temperature = 0;
  options.sampler.logit_bias = {{'z', 50.0f}};
  const std::vector<Token> prompt = {'p', 'q'};
  const double never = kSure - 10;
  Session session(f.engine, f.tokenizer);
  const auto alone =
      told([&](const TokenCallback& token) { return session.generate(prompt, options, token); });
  ASSERT_EQ(alone.size(), 3u);
  for (const auto& [token, logprob] : alone) {
    EXPECT_EQ(token, 'z');
    EXPECT_NEAR(logprob, never, 1e-5);
  }
  Scheduler scheduler(f.engine, f.tokenizer);
  options.speculation = Speculation::lookup;
  EXPECT_EQ(told([&](const TokenCallback& token) {
              return scheduler.submit({.prompt = prompt, .options = options, .token = token}).wait();
            }),
            alone);
}

TEST(Logprobs, OfAPromptAreToldByPieces) {
  const Fixture f;
  std::vector<Token> prompt;
  for (int i = 0; i < 200; ++i) prompt.push_back('a' + (i % 5 == 0 ? i % 7 : 20));
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = 1;
  std::vector<TokenLogprobs> all;
  std::vector<size_t> firsts;
  options.prompt_logprobs = [&](size_t first, std::span<const TokenLogprobs> some) {
    EXPECT_EQ(first, all.size() + 1);
    firsts.push_back(first);
    all.insert(all.end(), some.begin(), some.end());
  };
  const auto check = [&](const Result& result) {
    EXPECT_EQ(result.text, std::string(1, static_cast<char>('a' + 200 % 7)));
    EXPECT_EQ(result.statistics.cached_tokens, 0u);
    ASSERT_EQ(all.size(), prompt.size() - 1);
    for (size_t i = 1; i < prompt.size(); ++i) {
      EXPECT_EQ(all[i - 1].token, prompt[i]);
      EXPECT_NEAR(all[i - 1].logprob, i % 5 == 0 ? kSure : kSure - 10, 1e-5) << i;
    }
    all.clear();
  };
  Session session(f.engine, f.tokenizer);
  check(session.generate(prompt, options));
  EXPECT_THAT(firsts, ElementsAre(1, 65, 129));  // 192 is 8 from the end, which are not left over
  check(session.generate(prompt, options));      // though it has read it
  Scheduler scheduler(f.engine, f.tokenizer);
  for (int i = 0; i < 2; ++i) check(scheduler.submit({.prompt = prompt, .options = options}).wait());
}

// transformers' logits of the same text.
TEST(Logprobs, OfAPromptAreThoseOfTransformers) {
  for (const char* name : {"llama", "qwen2", "gemma3"}) {
    const graph::Golden golden(name);
    const auto model =
        Model::load(graph::golden_model_path(name), {.tokenizer_ahead = false, .chat_template = {}});
    const auto engine = model->make_engine({.threads = 1, .precision = engine::Precision::f32});
    std::vector<std::string> pieces(golden.vocabulary - std::min<size_t>(golden.vocabulary, 260), "x");
    Session session(engine, std::make_shared<fake::Tokenizer>(pieces));
    std::vector<TokenLogprobs> all;
    GenerateOptions options;
    options.max_tokens = 0;
    options.prompt_logprobs = [&](size_t, std::span<const TokenLogprobs> some) {
      all.insert(all.end(), some.begin(), some.end());
    };
    session.generate(golden.tokens, options);
    ASSERT_EQ(all.size(), golden.tokens.size() - 1) << name;
    size_t compared = 0;
    for (size_t i = 0; i < golden.positions.size(); ++i) {
      const auto at = static_cast<size_t>(golden.positions[i]);
      if (at >= all.size()) continue;
      const auto logits = std::span(golden.logits).subspan(i * golden.vocabulary, golden.vocabulary);
      EXPECT_NEAR(all[at].logprob, by_definition(logits, golden.tokens[at + 1]), 2e-3) << name << " " << at;
      ++compared;
    }
    EXPECT_GE(compared, 3u) << name;
  }
}

}  // namespace
}  // namespace cairn::llm
