#include "measure/evaluate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <numeric>

#include "base/error.hpp"
#include "llm/fake_engine.hpp"
#include "llm/fake_tokenizer.hpp"
#include "llm/tiny_model.hpp"
#include "measure/log_probability.hpp"
#include "measure/logits_file.hpp"

namespace cairn::measure {
namespace {

using testing::HasSubstr;
using text::Token;

// Logits depend on the last two tokens in a way that is easy to compute again.
class PairEngine : public llm::fake::EngineOfTokens {
 public:
  explicit PairEngine(uint32_t vocabulary, float sharpness = 1, uint32_t chunk = 5)
      : EngineOfTokens(vocabulary, 64, chunk), sharpness_(sharpness) {}
  float logit(Token before, Token token, size_t v) const {
    return sharpness_ * std::sin(static_cast<float>(before * 7 + token * 13 + static_cast<Token>(v) * 3));
  }
  Token poisoned = -1;

 protected:
  void write_logits(const std::vector<int32_t>& sequence, float* logits) override {
    const Token token = sequence.back(), before = sequence.size() < 2 ? 0 : sequence[sequence.size() - 2];
    const size_t vocabulary = model_.parameters.vocabulary;
    for (size_t v = 0; v < vocabulary; ++v) logits[v] = logit(before, token, v);
    if (token == poisoned) logits[vocabulary - 3] = std::numeric_limits<float>::quiet_NaN();
  }

 private:
  float sharpness_;
};

// −log p of token `next` after (before, token), in double.
double loss(const PairEngine& engine, Token before, Token token, Token next) {
  double sum = 0;
  const size_t vocabulary = engine.model().parameters.vocabulary;
  for (size_t v = 0; v < vocabulary; ++v)
    sum += std::exp(static_cast<double>(engine.logit(before, token, v)));
  return std::log(sum) - static_cast<double>(engine.logit(before, token, static_cast<size_t>(next)));
}

std::vector<std::vector<Token>> two_windows() {
  std::vector<std::vector<Token>> windows(2, std::vector<Token>(12));
  for (size_t w = 0; w < 2; ++w) {
    for (size_t i = 0; i < 12; ++i) windows[w][i] = static_cast<Token>((w * 31 + i * i * 5) % 40);
  }
  return windows;
}

TEST(RowSummary, IsExactToFloat) {
  for (const size_t size : {1, 15, 16, 17, 1000, 262144}) {
    std::vector<float> row(size);
    for (size_t i = 0; i < size; ++i) row[i] = 30 * std::sin(static_cast<float>(i * i % 100003));
    row[size / 2] = 31;
    double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<double>(x));
    const RowSummary summary = summarize(row);
    EXPECT_NEAR(summary.log_sum, std::log(sum), 2e-6) << size;
    EXPECT_EQ(summary.best, static_cast<int32_t>(size / 2));
  }
  const std::vector<float> far = {-1e30F, 5, -1000};
  EXPECT_NEAR(summarize(far).log_sum, 5, 1e-6);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    EXPECT_TRUE(std::isnan(summarize(std::vector<float>{1, bad, 2}).log_sum));
  }
}

TEST(KlDivergence, AgreesWithDouble) {
  for (const double distance : {0.0, 1e-4, 1e-2, 1.0}) {
    std::vector<float> p(5000), q(5000);
    for (size_t i = 0; i < p.size(); ++i) {
      p[i] = 8 * std::sin(static_cast<float>(i));
      q[i] = p[i] + static_cast<float>(distance * std::cos(static_cast<double>(i * 3))) + 0.5F;
    }
    const auto log_sum = [](const std::vector<float>& row) {
      return std::log(std::accumulate(row.begin(), row.end(), 0.0, [](double s, float x) {
        return s + std::exp(static_cast<double>(x));
      }));
    };
    double expected = 0;
    const double p_sum = log_sum(p), q_sum = log_sum(q);
    for (size_t i = 0; i < p.size(); ++i) {
      const double lp = static_cast<double>(p[i]) - p_sum, lq = static_cast<double>(q[i]) - q_sum;
      expected += std::exp(lp) * (lp - lq);
    }
    EXPECT_NEAR(kl_divergence(p, summarize(p), q, summarize(q)), expected, 1e-6 + 1e-4 * expected);
  }
}

TEST(Windows, BeginWithBosWhereTheModelDoes) {
  const std::string text = "abcdefghijklmnopq";
  const auto with = evaluation_windows(llm::fake::Tokenizer({}, true), text, 5);
  const std::vector<std::vector<Token>> expected = {{llm::fake::kBos, 'a', 'b', 'c', 'd'},
                                                    {llm::fake::kBos, 'f', 'g', 'h', 'i'},
                                                    {llm::fake::kBos, 'k', 'l', 'm', 'n'}};
  EXPECT_EQ(with, expected);
  const auto without = evaluation_windows(llm::fake::Tokenizer({}, false), text, 5);
  ASSERT_EQ(without.size(), 3U);
  EXPECT_EQ(without[1], (std::vector<Token>{'f', 'g', 'h', 'i', 'j'}));
  EXPECT_EQ(evaluation_windows(llm::fake::Tokenizer(), text, 5, 2).size(), 2U);
  EXPECT_EQ(evaluation_windows(llm::fake::Tokenizer(), text, 5, 9).size(), 3U);
}

TEST(Windows, NeedEnoughText) {
  try {
    evaluation_windows(llm::fake::Tokenizer({}, false), "abc", 512);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(error.what(), HasSubstr("3 tokens"));
    EXPECT_THAT(error.what(), HasSubstr("512"));
  }
  EXPECT_THROW(evaluation_windows(llm::fake::Tokenizer(), "abc", 1), Error);
}

TEST(Perplexity, OverAllPositionsAndTheSecondHalf) {
  PairEngine engine(40);
  ThreadPool pool(2);
  const auto windows = two_windows();
  double all = 0, half = 0;
  for (const auto& window : windows) {
    for (size_t i = 0; i + 1 < window.size(); ++i) {
      const double l = loss(engine, i == 0 ? 0 : window[i - 1], window[i], window[i + 1]);
      all += l / 22;
      half += i >= 6 ? l / 10 : 0;
    }
  }
  std::vector<std::pair<uint64_t, uint64_t>> progress;
  Evaluator evaluator(engine, pool,
                      [&](uint64_t done, uint64_t total) { progress.emplace_back(done, total); });
  size_t rows = 0;
  const Perplexity found =
      evaluator.perplexity(windows, [&](size_t window, uint32_t position, std::span<const float> row) {
        EXPECT_EQ(window, rows / 12);
        EXPECT_EQ(position, rows % 12);
        const Token before = position == 0 ? 0 : windows[window][position - 1];
        EXPECT_EQ(row[17], engine.logit(before, windows[window][position], 17));
        ++rows;
      });
  EXPECT_NEAR(found.all, std::exp(all), 1e-5);
  EXPECT_NEAR(found.second_half, std::exp(half), 1e-5);
  EXPECT_EQ(found.tokens, 22U);
  EXPECT_EQ(rows, 24U);
  EXPECT_EQ(progress.front(), (std::pair<uint64_t, uint64_t>(0, 24)));
  EXPECT_EQ(progress.back(), (std::pair<uint64_t, uint64_t>(24, 24)));
}

TEST(Perplexity, OfTheShortestWindowsIsANumber) {
  PairEngine engine(40);
  ThreadPool pool(1);
  Evaluator evaluator(engine, pool);
  for (const size_t size : {2, 3}) {
    std::vector<std::vector<Token>> windows = two_windows();
    for (auto& window : windows) window.resize(size);
    double last = 0;  // the last prediction of each window
    for (const auto& window : windows)
      last += loss(engine, size == 3 ? window[0] : 0, window[size - 2], window[size - 1]) / 2;
    const Perplexity result = evaluator.perplexity(windows);
    EXPECT_NEAR(result.second_half, std::exp(last), 1e-5) << size;
    if (size == 2) {
      EXPECT_EQ(result.second_half, result.all);
    }
  }
}

TEST(Perplexity, NamesTheFirstLogitThatIsNoNumber) {
  PairEngine engine(40);
  ThreadPool pool(1);
  auto windows = two_windows();
  windows[1][7] = 39;
  engine.poisoned = 39;
  try {
    Evaluator(engine, pool).perplexity(windows);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::numeric);
    EXPECT_THAT(error.what(), HasSubstr("position 7"));
    EXPECT_THAT(error.what(), HasSubstr("token 39"));
  }
}

TEST(Perplexity, StopsWhenTheProgressThrows) {
  PairEngine engine(40);
  ThreadPool pool(1);
  Evaluator evaluator(engine, pool, [](uint64_t done, uint64_t) {
    if (done >= 5) fail(ErrorCode::cancelled, "interrupted");
  });
  EXPECT_THROW(evaluator.perplexity(two_windows()), Error);
  EXPECT_EQ(engine.forwarded(), 5U);
}

TEST(Perplexity, NeedsWindows) {
  PairEngine engine(40);
  ThreadPool pool(1);
  EXPECT_THROW(Evaluator(engine, pool).perplexity({}), Error);
}

TEST(Agreement, OfAnEngineWithItselfAndWithAnother) {
  PairEngine reference(40, 1, 4), same(40), other(40, 1.3F);
  ThreadPool pool(2);
  const auto windows = two_windows();
  const Agreement equal = Evaluator(same, pool).agreement(reference, windows);
  EXPECT_NEAR(equal.mean_kl, 0, 1e-6);
  EXPECT_EQ(equal.top1, 1);
  EXPECT_EQ(equal.positions, 24U);
  EXPECT_EQ(equal.engine.all, equal.reference.all);

  const Agreement different = Evaluator(other, pool).agreement(reference, windows);
  double kl = 0, most = 0;
  for (const auto& window : windows) {
    for (size_t i = 0; i < window.size(); ++i) {
      double row = 0;
      for (Token v = 0; v < 40; ++v) {
        const double p = -loss(reference, i == 0 ? 0 : window[i - 1], window[i], v);
        row += std::exp(p) * (p + loss(other, i == 0 ? 0 : window[i - 1], window[i], v));
      }
      kl += row / 24;
      most = std::max(most, row);
    }
  }
  EXPECT_NEAR(different.mean_kl, kl, 1e-6);
  EXPECT_NEAR(different.max_kl, most, 1e-6);
  EXPECT_EQ(different.top1, 1);  // sharper, but in the same order
  EXPECT_NEAR(different.reference.all, equal.reference.all, 1e-9);
  EXPECT_NE(different.engine.all, equal.engine.all);
}

// Predicts that "the" (one piece) follows 't' and ' ', and after every other token the byte that follows it.
class WordEngine : public PairEngine {
 public:
  explicit WordEngine(const llm::fake::Tokenizer& tokenizer)
      : PairEngine(static_cast<uint32_t>(tokenizer.vocabulary()), 1, 7) {}

 protected:
  void write_logits(const std::vector<int32_t>& sequence, float* logits) override {
    PairEngine::write_logits(sequence, logits);
    logits[static_cast<size_t>(sequence.back()) + 1] = 9;
  }
};

TEST(Lambada, TheWholeLastWordMustBeRight) {
  const llm::fake::Tokenizer tokenizer;
  WordEngine engine(tokenizer);
  ThreadPool pool(1);
  // After a space (32) comes '!' (33), '"', '#': " !\"#" is all right, " !\"$" fails in its last token.
  const std::vector<std::string> passages = {"one two three four five \x21\"#\n", "one two \x21\"$", "a b",
                                             "some words !"};
  Evaluator evaluator(engine, pool);
  // The space before the last word is its first token; 'e' (101) is followed by 'f', not by ' '.
  const LambadaResult none = evaluator.lambada(tokenizer, passages);
  EXPECT_EQ(none.passages, 4U);
  EXPECT_EQ(none.correct, 0U);
  // With a context that ends in byte 31 the space itself is predicted too.
  const std::vector<std::string> right = {"one two\x1f !\"#\n", "one two\x1f !\"$", "x\x1f !"};
  const LambadaResult some = evaluator.lambada(tokenizer, right);
  EXPECT_EQ(some.correct, 2U);
  EXPECT_DOUBLE_EQ(some.accuracy, 2.0 / 3);
}

TEST(Lambada, RefusesPassagesWithoutALastWord) {
  const llm::fake::Tokenizer tokenizer;
  WordEngine engine(tokenizer);
  ThreadPool pool(1);
  for (const char* text : {"", "word", " word", "  \n"}) {
    const std::vector<std::string> passages = {"fine words", text};
    try {
      Evaluator(engine, pool).lambada(tokenizer, passages);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("passage 2"));
    }
  }
  EXPECT_THROW(
      Evaluator(engine, pool).lambada(tokenizer, std::vector<std::string>{std::string(80, 'x') + " y"}),
      Error);
  EXPECT_THROW(Evaluator(engine, pool).lambada(tokenizer, {}), Error);
}

TEST(Lambada, ReadsJsonLines) {
  const llm::TestFolder folder;
  const std::string path = folder.file("lambada.jsonl");
  const auto write = [&](const char* text) { std::ofstream(path) << text; };
  write("{\"text\": \"a b\"}\n\n{\"text\": \"c \\\"d\\\"\", \"more\": 1}");
  EXPECT_EQ(read_lambada(path), (std::vector<std::string>{"a b", "c \"d\""}));
  EXPECT_EQ(read_lambada(path, 1).size(), 1U);
  for (const char* bad :
       {"{\"text\": \"a b\"}\n{\"text\": 5}\n", "{\"text\": \"a b\"}\nno json", "{\"text\": \"a b\"}\n{}"}) {
    write(bad);
    try {
      read_lambada(path);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::format);
      EXPECT_THAT(error.what(), HasSubstr(path + ":2"));
    }
  }
  write("\n\n");
  EXPECT_THROW(read_lambada(path), Error);
}

TEST(LogitsFile, HoldsTokensAndRows) {
  const llm::TestFolder folder;
  const std::string path = folder.file("logits");
  const std::vector<std::vector<Token>> windows = {{5, 6}, {7, 8}};
  LogitsFile file(path, 3, windows);
  for (size_t w = 0; w < 2; ++w) {
    for (uint32_t i = 0; i < 2; ++i)
      file.add(w, i, std::vector<float>{static_cast<float>(w), static_cast<float>(i), 0.5F});
  }
  file.commit();
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  ASSERT_EQ(bytes.size(), 8 + 12 + 2 * (2 * 4 + 2 * 3 * 4U));
  EXPECT_EQ(bytes.substr(0, 8), "cairnlog");
  std::array<int32_t, 5> head;
  std::memcpy(head.data(), bytes.data() + 8, sizeof head);
  EXPECT_THAT(head, testing::ElementsAre(3, 2, 2, 5, 6));
  std::array<float, 3> last;
  std::memcpy(last.data(), bytes.data() + bytes.size() - sizeof last, sizeof last);
  EXPECT_THAT(last, testing::ElementsAre(1, 1, 0.5F));
}

}  // namespace
}  // namespace cairn::measure
