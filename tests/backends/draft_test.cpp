// The layer that predicts the token behind the next one: its logits are those of the same layer in
// transformers, however the text was read, and what it guesses leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "graph/golden_models.hpp"

namespace cairn::cpu {
namespace {

using engine::Engine;
using engine::Logits;
using engine::Precision;
using engine::Sequence;
using engine::Slice;
using graph::Golden;

class Drafts : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Engine> make(Precision precision = Precision::f32) const {
    return make_engine(file_, {.context = 256, .threads = 1, .chunk = 48, .precision = precision});
  }
  std::vector<float> draft(Engine& engine, Sequence& sequence, int32_t token) const {
    std::vector<float> logits(golden_.vocabulary);
    const Slice slice{&sequence, {&token, 1}, Logits::last, logits.data()};
    engine.draft({&slice, 1}, 1);
    return logits;
  }
  static void read(Engine& engine, Sequence& sequence, std::span<const int32_t> tokens, size_t end,
                   size_t piece) {
    while (sequence.length() < end) {
      const size_t size = std::min(piece, end - sequence.length());
      engine.step({&sequence, tokens.subspan(sequence.length(), size)});
    }
  }
  // Of the text's first `length` tokens and the one behind them.
  void expect_golden(const std::vector<float>& found, const std::vector<float>& golden, size_t length) const {
    const auto [least, most] = std::minmax_element(golden.begin(), golden.end());
    for (size_t v = 0; v < golden_.vocabulary; ++v)
      ASSERT_NEAR(found[v], golden[(length - 1) * golden_.vocabulary + v], 2e-4F * (*most - *least))
          << length;
  }
  void expect_drafts(Engine& engine, Sequence& sequence) const {
    const size_t length = sequence.length();
    const std::vector<float> first = draft(engine, sequence, golden_.tokens[length]);
    expect_golden(first, first_, length);
    const auto guess = static_cast<int32_t>(std::max_element(first.begin(), first.end()) - first.begin());
    expect_golden(draft(engine, sequence, guess), next_, length);
    EXPECT_EQ(sequence.length(), length);
    EXPECT_EQ(sequence.truncate(static_cast<uint32_t>(length)), length);  // forgets the guess
  }

  const gguf::File file_{graph::golden_model_path(GetParam())};
  const Golden golden_{GetParam()};
  const gguf::File golden_file_{std::string(CAIRN_TEST_DATA) + "/golden_models/" + GetParam() +
                                ".golden.gguf"};
  const std::vector<float> first_ = graph::golden_floats(golden_file_, "draft");
  const std::vector<float> next_ = graph::golden_floats(golden_file_, "draft.next");
};

TEST_P(Drafts, AgreeWithTransformers) {
  const auto engine = make();
  ASSERT_TRUE(engine->predicts());
  for (const size_t piece : {1u, 3u, 8u, 11u, 48u}) {
    const auto sequence = engine->make_sequence();
    for (size_t end = std::min<size_t>(piece, 39); end < golden_.tokens.size(); end += piece) {
      read(*engine, *sequence, golden_.tokens, end, piece);
      expect_drafts(*engine, *sequence);
    }
  }
}

TEST_P(Drafts, FollowTruncationAndForks) {
  const auto engine = make();
  const auto sequence = engine->make_sequence();
  read(*engine, *sequence, golden_.tokens, 25, 25);
  const std::vector<int32_t> guesses = {golden_.tokens[25], golden_.tokens[26], 5, 6, 7};
  std::vector<float> logits(guesses.size() * golden_.vocabulary);
  engine->step({sequence.get(), guesses, Logits::all, logits.data()});
  ASSERT_EQ(sequence->truncate(27), 27u);
  expect_drafts(*engine, *sequence);
  const auto fork = sequence->fork();
  const std::vector<int32_t> other = {99, 98, 97};
  engine->step({fork.get(), other});
  expect_drafts(*engine, *sequence);
  read(*engine, *sequence, golden_.tokens, 30, 1);
  expect_drafts(*engine, *sequence);
}

// Two texts that part behind a whole page: the page's last key of this layer is not theirs together.
TEST_P(Drafts, PagesArePartedInTime) {
  const auto engine = make(Precision::standard);
  std::vector<int32_t> tokens(70);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(3 + i * i * 7 % 120);
  const auto fresh = engine->make_sequence();
  read(*engine, *fresh, tokens, 64, 48);
  read(*engine, *fresh, tokens, 66, 1);
  const std::vector<float> expected = draft(*engine, *fresh, tokens[66]);
  const auto parent = engine->make_sequence();
  read(*engine, *parent, tokens, 64, 48);
  const auto child = parent->fork(), guessing = parent->fork();
  read(*engine, *parent, tokens, 66, 1);
  const std::vector<int32_t> other = {99, 98};
  engine->step({child.get(), other});
  draft(*engine, *guessing, 77);
  EXPECT_EQ(draft(*engine, *parent, tokens[66]), expected);
}

TEST_P(Drafts, LeaveNothingBehind) {
  const auto engine = make(Precision::standard);
  const auto expected = [&](bool drafts) {
    const auto sequence = engine->make_sequence();
    read(*engine, *sequence, golden_.tokens, 30, 30);
    std::vector<float> logits(golden_.vocabulary);
    for (size_t i = 30; i < 36; ++i) {
      for (int32_t guess = 1; guess < 5 && drafts; ++guess) draft(*engine, *sequence, guess * 7);
      engine->step({sequence.get(), {&golden_.tokens[i], 1}, Logits::last, logits.data()});
    }
    return logits;
  };
  EXPECT_EQ(expected(true), expected(false));
}

// Its experts, where it has some, come and go as those of the other layers do.
TEST_P(Drafts, AreTheSameUnderABudget) {
  const auto guesses = [&](uint64_t memory) {
    const auto engine = make_engine(file_, {.context = 256, .threads = 1, .chunk = 48, .memory = memory});
    const auto sequence = engine->make_sequence();
    read(*engine, *sequence, golden_.tokens, 30, 30);
    return draft(*engine, *sequence, golden_.tokens[30]);
  };
  EXPECT_EQ(guesses(uint64_t{64} << 30), guesses(0));
}

TEST_P(Drafts, RefuseWhatCannotBe) {
  const auto engine = make();
  const auto sequence = engine->make_sequence();
  const std::vector<int32_t> tokens = {1, 2};
  const auto fails = [&](size_t count, const char* reason) {
    const Slice slice{sequence.get(), std::span(tokens).first(count)};
    try {
      engine->draft({&slice, 1}, 1);
      ADD_FAILURE() << reason;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_THAT(error.what(), testing::HasSubstr(reason));
    }
  };
  fails(1, "1 token behind a text, not 1 behind 0");
  engine->step({sequence.get(), tokens});
  fails(2, "not 2 behind 2");
  EXPECT_EQ(sequence->length(), 2u);
  read(*engine, *sequence, std::vector<int32_t>(253, 1), 253, 48);
  for (int32_t guess = 1; guess <= 3; ++guess) draft(*engine, *sequence, guess);
  fails(1, "253 tokens and 4 guesses do not fit in the context of 256");
}

INSTANTIATE_TEST_SUITE_P(, Drafts, testing::ValuesIn(graph::kDraftingModels),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace cairn::cpu
