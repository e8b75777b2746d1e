// Models that make embeddings on the CPU: states against transformers', texts beside each other, what is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "graph/golden_models.hpp"
#include "graph/reference_interpreter.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::cpu {
namespace {

using engine::Logits;
using engine::Precision;

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing is refused";
}

class Embedder : public ::testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<engine::Engine> engine(Precision precision, uint32_t threads = 2,
                                         engine::KvType kv = engine::KvType::f16) const {
    // The chunk is as long as the context, whatever is asked for, and the context as the learned positions.
    return make_engine(file_,
                       {.context = 4096, .threads = threads, .chunk = 16, .precision = precision, .kv = kv});
  }

  std::vector<float> states(engine::Engine& engine, std::span<const int32_t> tokens) const {
    std::vector<float> out(tokens.size() * engine.model().parameters.embedding);
    const auto sequence = engine.make_sequence();
    engine.step({sequence.get(), tokens, Logits::none, nullptr, 0, out.data()});
    EXPECT_EQ(sequence->length(), tokens.size());
    return out;
  }

  const gguf::File file_{graph::golden_model_path(GetParam())};
  const graph::GoldenStates golden_{GetParam()};
};

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

TEST_P(Embedder, StatesAreTransformersOnEveryInstructionSet) {
  for (const kernels::Target target : kernels::available_targets()) {
    const cairn::testing::ScopedVariable forced("CAIRN_TARGET", kernels::name(target));
    const auto exact = engine(Precision::f32);
    EXPECT_EQ(exact->context(), 64u);
    EXPECT_EQ(exact->chunk(), 64u);
    EXPECT_LT(largest_difference(states(*exact, golden_.tokens), golden_.states), 2e-5)
        << kernels::name(target);
    // Whatever is asked for: products are of floats, and keys and values there for the step alone.
    for (const engine::KvType kv : {engine::KvType::f16, engine::KvType::i8, engine::KvType::q4}) {
      const auto usual = engine(Precision::standard, 2, kv);
      EXPECT_EQ(states(*usual, golden_.tokens), states(*exact, golden_.tokens)) << kernels::name(target);
    }
  }
}

// Of every length: tiles that are not full, one token, all positions that there are.
TEST_P(Embedder, TextsOfEveryLengthAreSeenWhole) {
  const auto exact = engine(Precision::f32);
  graph::ReferenceInterpreter reference(file_);
  for (const size_t length : {1, 2, 7, 8, 9, 31, 32, 33, 64}) {
    std::vector<int32_t> tokens(length);
    for (size_t i = 0; i < length; ++i) tokens[i] = static_cast<int32_t>(5 + i * 37 % 120);
    const std::vector<double> wide = reference.run(tokens);
    const std::vector<float> expected(wide.begin(), wide.end());
    EXPECT_LT(largest_difference(states(*exact, tokens), expected), 2e-5) << length;
  }
}

// Many texts of one step are each as alone, on any number of threads.
TEST_P(Embedder, TextsBesideEachOtherAreAsAlone) {
  for (const Precision precision : {Precision::f32, Precision::standard}) {
    const auto one = engine(precision, 1), many = engine(precision, 3);
    std::vector<std::vector<int32_t>> texts;
    for (size_t i = 1; i < 12; ++i)
      texts.emplace_back(golden_.tokens.begin(), golden_.tokens.begin() + i * 3);
    std::vector<std::unique_ptr<engine::Sequence>> sequences;
    std::vector<std::vector<float>> found;
    std::vector<engine::Slice> slices;
    for (const auto& text : texts) {
      sequences.push_back(many->make_sequence());
      found.emplace_back(text.size() * 32);
      slices.push_back({sequences.back().get(), text, Logits::none, nullptr, 0, found.back().data()});
    }
    many->step(slices);
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(found[i], states(*one, texts[i]));
  }
}

TEST_P(Embedder, RefusesWhatItCannotDo) {
  const auto run = engine(Precision::f32);
  const auto sequence = run->make_sequence();
  std::vector<float> logits(128 * 64);
  const std::span<const int32_t> tokens = golden_.tokens;
  const std::string name = file_.path();
  EXPECT_EQ(refusal([&] {
              run->step({sequence.get(), tokens, Logits::last, logits.data()});
            }),
            name + ": architecture 'bert' makes embeddings, no text (see `cairn embed`)");
  EXPECT_EQ(sequence->length(), 0u);
  run->step({sequence.get(), tokens.first(10), Logits::none, nullptr});
  EXPECT_EQ(refusal([&] {
              run->step({sequence.get(), tokens.first(3), Logits::none, nullptr});
            }),
            name + ": architecture 'bert' reads a text in one step: 3 tokens do not go behind 10");
  EXPECT_EQ(sequence->length(), 10u);
  EXPECT_EQ(sequence->truncate(0), 0u);
  run->step({sequence.get(), tokens, Logits::none, nullptr});
  const std::vector<int32_t> long_text(65, 7);
  EXPECT_THAT(refusal([&] { states(*run, long_text); }), ::testing::HasSubstr("64"));
}

INSTANTIATE_TEST_SUITE_P(, Embedder, ::testing::ValuesIn(graph::kEmbedders),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace cairn::cpu
