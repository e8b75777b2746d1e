// Recurrent states: checkpoints, forks, steps that fail, what they weigh.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "graph/golden_models.hpp"
#include "graph/reference_interpreter.hpp"

namespace cairn::cpu {
namespace {

using engine::Engine;
using engine::Logits;
using engine::Precision;
using engine::Sequence;
using engine::Slice;
using graph::long_text;

constexpr uint32_t kContext = 1024, kChunk = 96;
constexpr size_t kVocabulary = 128;

class State : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Engine> make(Precision precision = Precision::f32, uint32_t threads = 1) const {
    return make_engine(file_,
                       {.context = kContext, .threads = threads, .chunk = kChunk, .precision = precision});
  }
  // Reads on to `end`, at most `piece` tokens at a time; the logits of the last token.
  static std::vector<float> read(Engine& engine, Sequence& sequence, const std::vector<int32_t>& tokens,
                                 size_t end, size_t piece) {
    std::vector<float> logits(kVocabulary);
    while (sequence.length() < end) {
      const size_t size = std::min(piece, end - sequence.length());
      engine.step(
          {&sequence, std::span(tokens).subspan(sequence.length(), size), Logits::last, logits.data()});
    }
    return logits;
  }
  const gguf::File file_{graph::golden_model_path(GetParam())};
};

// Reads on after going back, wherever it landed: the same as a text that was read once, and the same as the
// double-precision reference.
TEST_P(State, GoesBackToACheckpoint) {
  constexpr size_t kLength = 500;
  const std::vector<int32_t> tokens = long_text(0, kLength);
  graph::ReferenceInterpreter reference(file_, kContext);
  const std::vector<double> expected = reference.run(tokens);
  const auto engine = make();
  for (const size_t piece : {size_t{kChunk}, size_t{70}, size_t{7}}) {
    for (const uint32_t back : {499u, 470u, 448u, 447u, 300u, 65u, 64u, 63u, 1u}) {
      const auto sequence = engine->make_sequence();
      read(*engine, *sequence, tokens, kLength, piece);
      const uint32_t left = sequence->truncate(back);
      ASSERT_LE(left, back);
      EXPECT_EQ(sequence->length(), left);
      if (piece == 7 && back == 499) EXPECT_EQ(left, 499u);  // rows: any position of the last step
      if (left != back) EXPECT_EQ(left % 64, 0u);
      // What is read again is not much more than what lay behind.
      EXPECT_LE(kLength - left, 2 * (kLength - back) + 2 * 64 + kChunk) << back << " of pieces of " << piece;
      const std::vector<float> logits = read(*engine, *sequence, tokens, back + 1, piece);
      const auto [least, most] = std::minmax_element(expected.begin(), expected.end());
      for (size_t v = 0; v < kVocabulary; ++v)
        ASSERT_NEAR(logits[v], expected[back * kVocabulary + v], 2e-4 * (*most - *least))
            << back << ' ' << piece;
    }
  }
}

// A fork goes on by itself, in any order of steps, and either may go back.
TEST_P(State, ForksAreTheirOwn) {
  for (const Precision precision : {Precision::f32, Precision::standard}) {
    const auto engine = make(precision, 2);
    const std::vector<int32_t> a = long_text(0, 200);
    std::vector<int32_t> b = a;
    for (size_t i = 130; i < b.size(); ++i) b[i] = (a[i] + 17) % static_cast<int32_t>(kVocabulary);
    const auto fresh = [&](const std::vector<int32_t>& tokens) {
      const auto sequence = engine->make_sequence();
      read(*engine, *sequence, tokens, 128, 64);
      return read(*engine, *sequence, tokens, 140, 1);
    };
    const auto parent = engine->make_sequence();
    read(*engine, *parent, a, 128, 64);
    read(*engine, *parent, a, 130, 1);
    auto child = parent->fork();
    EXPECT_EQ(child->length(), 130u);
    for (uint32_t end = 131; end <= 139; ++end) {
      read(*engine, *child, b, end, 1);
      read(*engine, *parent, a, end, 1);
    }
    EXPECT_EQ(read(*engine, *child, b, 140, 1), fresh(b));
    const auto third = child->fork();
    child.reset();
    EXPECT_EQ(read(*engine, *parent, a, 140, 1), fresh(a));
    ASSERT_EQ(third->truncate(128), 128u);
    EXPECT_EQ(read(*engine, *third, a, 140, 1), fresh(a));
  }
}

// Rows of a sequence that do not fit into one run of eight, and going back to each of them.
TEST_P(State, RowsOverSeveralRuns) {
  const auto engine = make(Precision::standard, 2);
  std::vector<std::vector<int32_t>> tokens;
  for (size_t s = 0; s < 3; ++s) tokens.push_back(long_text(s, 40));
  std::vector<std::vector<float>> alone;
  for (size_t s = 0; s < 3; ++s) {
    const auto sequence = engine->make_sequence();
    read(*engine, *sequence, tokens[s], 19, 19);
    for (size_t end = 20; end <= 32; ++end) alone.push_back(read(*engine, *sequence, tokens[s], end, 1));
  }
  for (uint32_t kept = 0; kept <= 7; ++kept) {
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<Slice> slices;
    std::vector<float> logits(3 * 7 * kVocabulary);
    for (size_t s = 0; s < 3; ++s) {
      sequences.push_back(engine->make_sequence());
      read(*engine, *sequences[s], tokens[s], 19, 19);
      read(*engine, *sequences[s], tokens[s], 21, 1);
      slices.push_back({sequences[s].get(), std::span(tokens[s]).subspan(21, 7), Logits::all,
                        logits.data() + s * 7 * kVocabulary});
    }
    engine->step(slices);
    for (size_t s = 0; s < 3; ++s) {
      for (size_t i = 0; i < 7; ++i) {
        const auto begin = logits.begin() + static_cast<ptrdiff_t>((s * 7 + i) * kVocabulary);
        ASSERT_TRUE(std::equal(begin, begin + kVocabulary, alone[s * 13 + 2 + i].begin())) << s << ' ' << i;
      }
      ASSERT_EQ(sequences[s]->truncate(21 + kept), 21 + kept);
      for (uint32_t end = 22 + kept; end <= 32; ++end)
        ASSERT_EQ(read(*engine, *sequences[s], tokens[s], end, 1), alone[s * 13 + end - 20])
            << s << ' ' << end;
    }
  }
}

// A step that does not come to its end leaves the state as it was, also the one before the last token.
TEST_P(State, StepsThatFailChangeNothing) {
  const auto engine = make(Precision::standard);
  const std::vector<int32_t> tokens = long_text(0, 200);
  const auto expected = engine->make_sequence();
  read(*engine, *expected, tokens, 100, 50);
  read(*engine, *expected, tokens, 103, 3);
  const std::vector<float> logits = read(*engine, *expected, tokens, 104, 1);
  for (int stop = 1;; ++stop) {
    const auto sequence = engine->make_sequence();
    read(*engine, *sequence, tokens, 100, 50);
    read(*engine, *sequence, tokens, 103, 3);
    int asked = 0;
    bool stopped = false;
    try {
      engine->step({sequence.get(), std::span(tokens).subspan(103, 70)}, [&] { return ++asked == stop; });
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled);
      stopped = true;
    }
    if (!stopped) {
      EXPECT_GT(asked, 6);
      break;
    }
    ASSERT_EQ(sequence->length(), 103u);
    EXPECT_EQ(read(*engine, *sequence, tokens, 104, 1), logits) << stop;
    ASSERT_EQ(sequence->truncate(103), 103u);
    EXPECT_EQ(read(*engine, *sequence, tokens, 104, 1), logits) << stop;
  }
  // One whose second slice is refused by a layer: here by a token outside the vocabulary.
  const std::vector<int32_t> wrong = {1, static_cast<int32_t>(kVocabulary)};
  const auto other = engine->make_sequence();
  ASSERT_EQ(expected->truncate(103), 103u);
  const std::vector<Slice> slices = {{expected.get(), std::span(tokens).subspan(103, 1)},
                                     {other.get(), wrong}};
  EXPECT_THROW(engine->step(slices), Error);
  EXPECT_EQ(read(*engine, *expected, tokens, 104, 1), logits);
}

TEST_P(State, IsCountedAndGivenBack) {
  const auto engine = make(Precision::standard);
  const std::vector<int32_t> tokens = long_text(0, 400);
  {
    const auto sequence = engine->make_sequence();
    EXPECT_EQ(sequence->bytes(), 0u);
    engine->reserve(*sequence, 90);
    EXPECT_GT(engine->kv_bytes(), 0u);
    sequence->truncate(0);
    EXPECT_EQ(engine->kv_bytes(), 0u);
    engine->reserve(*sequence, 90);  // for more than is read then
    read(*engine, *sequence, tokens, 1, 1);
    EXPECT_EQ(engine->kv_bytes(), sequence->bytes());
    read(*engine, *sequence, tokens, 400, kChunk);
    EXPECT_EQ(engine->kv_bytes(), sequence->bytes());
    const auto fork = sequence->fork();
    EXPECT_EQ(fork->bytes(), sequence->bytes());
    EXPECT_EQ(engine->kv_bytes(), sequence->bytes());  // shared
    read(*engine, *fork, long_text(1, 401), 401, 1);
    EXPECT_GT(engine->kv_bytes(), sequence->bytes());
  }
  EXPECT_EQ(engine->kv_bytes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Models, State, testing::ValuesIn(graph::kRecurrentModels),
                         [](const auto& tested) { return std::string(tested.param); });

// Blocks of keys and values alone would be half of what a text needs.
TEST(States, AreNotKeptInBlocks) {
  const auto engine =
      make_engine(gguf::File(graph::golden_model_path("lfm2")), {.context = 128, .threads = 1});
  EXPECT_EQ(engine->blocks().positions, 0u);
  const auto sequence = engine->make_sequence();
  EXPECT_THROW(engine->append_block(*sequence, {}), Error);
}

}  // namespace
}  // namespace cairn::cpu
