#include "llm/sampler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.hpp"

namespace cairn::llm {
namespace {

using testing::HasSubstr;

// Everything off: the plain softmax of the logits.
SamplerOptions plain() {
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  options.penalty_window = 0;
  options.seed = 1;
  return options;
}

std::vector<float> random_logits(size_t size, uint64_t seed, float spread = 6) {
  Random random(seed);
  std::vector<float> logits(size);
  for (float& logit : logits) {  // near enough to a normal distribution
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += random.uniform();
    logit = static_cast<float>(sum) * spread;
  }
  return logits;
}

SamplerOptions golden_options(const nlohmann::json& json) {
  SamplerOptions options = plain();
  options.temperature = json.value("temperature", 1.0f);
  options.top_k = json.value("top_k", 0u);
  options.top_p = json.value("top_p", 1.0f);
  options.min_p = json.value("min_p", 0.0f);
  options.repetition_penalty = json.value("repetition_penalty", 1.0f);
  options.frequency_penalty = json.value("frequency_penalty", 0.0f);
  options.presence_penalty = json.value("presence_penalty", 0.0f);
  for (const auto& entry : json.value("logit_bias", nlohmann::json::array())) {
    const float bias = entry[1].is_string() ? -std::numeric_limits<float>::infinity() : entry[1].get<float>();
    options.logit_bias.emplace_back(entry[0].get<Token>(), bias);
  }
  return options;
}

TEST(Sampler, EqualsTransformersLogitsProcessors) {
  std::ifstream file(CAIRN_TEST_DATA "/sampler_golden.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_GE(cases.size(), 16u);
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden["options"].dump());
    auto logits = golden["logits"].get<std::vector<float>>();
    const auto expected = golden["probabilities"].get<std::vector<double>>();
    Sampler sampler(golden_options(golden["options"]), logits.size());
    std::vector<double> found(logits.size());
    for (const Candidate& candidate :
         sampler.distribution(logits, golden["history"].get<std::vector<Token>>())) {
      found[static_cast<size_t>(candidate.token)] = candidate.probability;
    }
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i], expected[i], 2e-6) << "token " << i;
      EXPECT_EQ(found[i] == 0, expected[i] == 0) << "token " << i;
    }
  }
}

// A brute-force pipeline over the whole, sorted vocabulary in double precision, for sizes at which the fast
// selection takes its short cuts.
TEST(Sampler, FastSelectionEqualsBruteForce) {
  for (const size_t size : {1, 63, 64, 65, 1000, 50257}) {
    for (const uint32_t k : {0u, 1u, 5u, 40u, 999u}) {
      for (const float p : {1.0f, 0.9f, 0.3f}) {
        SCOPED_TRACE(testing::Message() << "vocabulary " << size << " top_k " << k << " top_p " << p);
        std::vector<float> logits = random_logits(size, size * 7 + k, 2);
        std::vector<size_t> order(size);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return logits[a] > logits[b]; });
        if (k != 0 && k < size) order.resize(k);
        double total = 0;
        for (const size_t i : order) total += std::exp(static_cast<double>(logits[i]) - logits[order[0]]);
        double sum = 0;
        size_t kept = 0;
        while (kept < order.size() && sum < p * total) {
          sum += std::exp(static_cast<double>(logits[order[kept++]]) - logits[order[0]]);
        }
        order.resize(p < 1 ? kept : order.size());

        SamplerOptions options = plain();
        options.top_k = k;
        options.top_p = p;
        Sampler sampler(options, size);
        std::vector<size_t> found;
        for (const Candidate& c : sampler.distribution(logits, {}))
          found.push_back(static_cast<size_t>(c.token));
        std::sort(order.begin(), order.end());
        std::sort(found.begin(), found.end());
        EXPECT_EQ(found, order);
      }
    }
  }
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const std::vector<float> logits = random_logits(40, 3, 1.5);
  for (const uint32_t k : {0u, 12u}) {
    SamplerOptions options = plain();
    options.top_k = k;
    options.seed = 77;
    Sampler sampler(options, logits.size());
    std::map<Token, double> expected;
    std::vector<float> scratch = logits;
    for (const Candidate& c : sampler.distribution(scratch, {})) expected[c.token] = c.probability;
    constexpr int kDraws = 50000;
    std::map<Token, int> counts;
    for (int i = 0; i < kDraws; ++i) {
      scratch = logits;
      ++counts[sampler.sample(scratch, {})];
    }
    double chi_square = 0;
    for (const auto& [token, probability] : expected) {
      const double difference = counts[token] - probability * kDraws;
      chi_square += difference * difference / (probability * kDraws);
    }
    EXPECT_EQ(counts.size(), expected.size());
    // The 99.9 % quantile of chi-square with n degrees of freedom (Wilson and Hilferty's approximation).
    const double n = static_cast<double>(expected.size() - 1);
    EXPECT_LT(chi_square, n * std::pow(1 - 2 / (9 * n) + 3.09 * std::sqrt(2 / (9 * n)), 3));
  }
}

TEST(Sampler, SeedsRepeatAndDiffer) {
  const auto draw = [](uint64_t seed) {
    SamplerOptions options = plain();
    options.seed = seed;
    Sampler sampler(options, 1000);
    std::vector<Token> tokens;
    for (int i = 0; i < 20; ++i) {
      std::vector<float> logits = random_logits(1000, static_cast<uint64_t>(i), 1);
      tokens.push_back(sampler.sample(logits, {}));
    }
    return tokens;
  };
  EXPECT_EQ(draw(5), draw(5));
  EXPECT_NE(draw(5), draw(6));
}

TEST(Sampler, GreedyTakesTheLowestOfTheGreatest) {
  SamplerOptions options = plain();
  options.temperature = 0;
  for (const size_t size : {1, 15, 16, 17, 262144}) {
    Sampler sampler(options, size);
    for (const size_t at : {size_t{0}, size / 2, size - 1}) {
      std::vector<float> logits = random_logits(size, 9);
      logits[at] = 100;
      logits[size - 1] = 100;
      EXPECT_EQ(sampler.sample(logits, {}), static_cast<Token>(at));
    }
  }
}

TEST(Sampler, TinyTemperatureIsGreedy) {
  SamplerOptions options = plain();
  options.temperature = std::numeric_limits<float>::denorm_min();
  Sampler sampler(options, 500);
  std::vector<float> logits = random_logits(500, 4);
  const size_t best = argmax(logits);
  EXPECT_EQ(sampler.sample(logits, {}), static_cast<Token>(best));
}

TEST(Sampler, PenaltiesLookAtTheWindowOnly) {
  SamplerOptions options = plain();
  options.temperature = 0;
  options.presence_penalty = 5;
  options.penalty_window = 2;
  Sampler sampler(options, 3);
  std::vector<float> logits{3, 2, 1};
  EXPECT_EQ(sampler.sample(logits, std::vector<Token>{0, 1, 2}), 0);
  logits = {3, 2, 1};
  EXPECT_EQ(sampler.sample(logits, std::vector<Token>{1, 2, 0}), 1);
}

// A model's vocabulary may be padded beyond the tokenizer's: its last tokens may stand in a prompt, and are
// never drawn.
TEST(Sampler, PenaltiesLeaveTokensBeyondTheVocabularyAlone) {
  SamplerOptions options = plain();
  options.temperature = 0;
  options.repetition_penalty = 2;
  options.presence_penalty = 1;
  Sampler sampler(options, 8);
  for (int time = 0; time < 3; ++time) {
    std::vector<float> logits(4096, 1.0f);
    logits[5] = 2;
    std::vector<Token> history = {5};
    for (Token token = 8; token < 4096; ++token) history.push_back(token);
    EXPECT_NE(sampler.sample(std::span(logits).first(8), history), 5);
    EXPECT_EQ(std::count(logits.begin() + 8, logits.end(), 1.0f), 4096 - 8);
  }
}

TEST(Sampler, FindsWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {0u, 17u, 999u}) {
      std::vector<float> values = random_logits(1000, 2);
      EXPECT_EQ(find_non_finite(values), std::nullopt);
      values[at] = bad;
      EXPECT_EQ(find_non_finite(values), at);
    }
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto refuses = [](auto change, const char* text) {
    SamplerOptions options;
    change(options);
    try {
      options.validate(10);
      ADD_FAILURE() << "accepted what should say: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {-1.0f, nan, infinity}) {
    refuses([&](SamplerOptions& o) { o.temperature = value; }, "temperature is");
  }
  for (const float value : {0.0f, -0.1f, 1.01f, nan}) {
    refuses([&](SamplerOptions& o) { o.top_p = value; }, "top_p is");
  }
  for (const float value : {-0.1f, 1.01f, nan}) {
    refuses([&](SamplerOptions& o) { o.min_p = value; }, "min_p is");
  }
  for (const float value : {0.0f, -1.0f, 1000.0f, nan}) {
    refuses([&](SamplerOptions& o) { o.repetition_penalty = value; }, "repetition_penalty is");
  }
  for (const float value : {2000.0f, nan, infinity}) {
    refuses([&](SamplerOptions& o) { o.presence_penalty = value; }, "presence_penalty is");
    refuses([&](SamplerOptions& o) { o.frequency_penalty = value; }, "frequency_penalty is");
    refuses([&](SamplerOptions& o) { o.logit_bias = {{1, value * 1e6f}}; }, "logit_bias is");
  }
  for (const Token token : {-1, 10}) {
    refuses([&](SamplerOptions& o) { o.logit_bias = {{token, 1.0f}}; }, "the vocabulary has 10 tokens");
  }
  EXPECT_NO_THROW(SamplerOptions{}.validate(10));
}

TEST(Sampler, SaysWhenEveryTokenIsBanned) {
  SamplerOptions options = plain();
  for (Token token = 0; token < 3; ++token) {
    options.logit_bias.emplace_back(token, -std::numeric_limits<float>::infinity());
  }
  Sampler sampler(options, 3);
  std::vector<float> logits{1, 2, 3};
  EXPECT_THROW(sampler.sample(logits, {}), Error);
}

}  // namespace
}  // namespace cairn::llm
