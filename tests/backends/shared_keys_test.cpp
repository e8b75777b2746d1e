// Layers that read the keys and values of earlier ones (gemma4), and keys that are the values too
// (deepseek2): sequences beside each other, forks and truncation, far behind the windows.
#include <gtest/gtest.h>

#include <cmath>

#include "backends/cpu/engine.hpp"
#include "graph/golden_models.hpp"
#include "graph/reference_interpreter.hpp"

namespace cairn::cpu {
namespace {

using engine::Logits;
using Tokens = std::vector<int32_t>;

class SharedKeys : public ::testing::TestWithParam<const char*> {
 protected:
  static constexpr size_t kVocabulary = 128;

  static Tokens text(size_t length, int32_t seed) {
    Tokens out;
    for (size_t i = 0; i < length; ++i)
      out.push_back(static_cast<int32_t>(3 + (i * i * 7 + seed * 31 + i) % 120));
    return out;
  }
  void expect_reference(const Tokens& all, std::span<const float> last) {
    const std::vector<double> wide = reference_.run(all);
    double worst = 0;
    for (size_t i = 0; i < kVocabulary; ++i)
      worst = std::max(worst, std::abs(wide[wide.size() - kVocabulary + i] - static_cast<double>(last[i])));
    EXPECT_LT(worst, 2e-3);  // of logits that reach ±15
  }
  std::vector<float> read(engine::Sequence& sequence, std::span<const int32_t> tokens) {
    std::vector<float> logits(kVocabulary);
    engine_->step({&sequence, tokens, Logits::last, logits.data()});
    return logits;
  }

  const gguf::File file_{graph::golden_model_path(GetParam())};
  graph::ReferenceInterpreter reference_{file_, 1024};
  const std::unique_ptr<engine::Engine> engine_ =
      make_engine(file_, {.context = 1024, .threads = 2, .chunk = 64, .precision = engine::Precision::f32});
};

TEST_P(SharedKeys, ForksGoTheirOwnWays) {
  const Tokens begin = text(70, 1), one = text(50, 2), other = text(50, 3);
  const auto a = engine_->make_sequence();
  read(*a, std::span(begin).first(64));
  read(*a, std::span(begin).subspan(64));
  const auto b = a->fork();
  const std::vector<float> first = read(*a, one);
  std::vector<float> second(kVocabulary);
  for (const int32_t token : other) second = read(*b, {&token, 1});  // as rows
  Tokens whole = begin;
  whole.insert(whole.end(), one.begin(), one.end());
  expect_reference(whole, first);
  whole.resize(begin.size());
  whole.insert(whole.end(), other.begin(), other.end());
  expect_reference(whole, second);
}

TEST_P(SharedKeys, TruncationGoesBackBehindTheWindow) {
  const Tokens whole = text(300, 4), end = text(20, 5);
  const auto sequence = engine_->make_sequence();
  for (size_t at = 0; at < whole.size(); at += 60) read(*sequence, std::span(whole).subspan(at, 60));
  ASSERT_EQ(sequence->truncate(101), 101u);
  const std::vector<float> last = read(*sequence, end);
  Tokens all(whole.begin(), whole.begin() + 101);
  all.insert(all.end(), end.begin(), end.end());
  expect_reference(all, last);
}

TEST_P(SharedKeys, BlocksAreTakenUpElsewhere) {
  const Tokens whole = text(140, 6);
  const auto from = engine_->make_sequence(), to = engine_->make_sequence();
  for (size_t at = 0; at < whole.size(); at += 35) read(*from, std::span(whole).subspan(at, 35));
  std::vector<std::byte> block(engine_->blocks().bytes);
  for (uint32_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(from->read_block(i, block));
    engine_->append_block(*to, block);
  }
  ASSERT_EQ(to->length(), 128u);
  expect_reference(whole, read(*to, std::span(whole).subspan(128)));
  EXPECT_GT(engine_->kv_bytes(), 0u);
}

constexpr auto kName = [](const auto& tested) { return std::string(tested.param); };
INSTANTIATE_TEST_SUITE_P(Unequal, SharedKeys, ::testing::ValuesIn(graph::kUnequalModels), kName);
INSTANTIATE_TEST_SUITE_P(Latent, SharedKeys, ::testing::ValuesIn(graph::kLatentModels), kName);

}  // namespace
}  // namespace cairn::cpu
