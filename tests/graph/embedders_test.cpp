// Models that make embeddings: op lists against transformers' states, what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.hpp"
#include "graph/golden_models.hpp"
#include "graph/model_file.hpp"
#include "graph/reference_interpreter.hpp"

namespace cairn::graph {
namespace {

class Embedder : public testing::TestWithParam<const char*> {};

TEST_P(Embedder, OpListsGiveTransformersStates) {
  const gguf::File file(golden_model_path(GetParam()));
  const GoldenStates golden(GetParam());
  ReferenceInterpreter reference(file);
  EXPECT_FALSE(reference.model().parameters.causal);
  const std::vector<double> states = reference.run(golden.tokens);
  ASSERT_EQ(states.size(), golden.states.size());
  for (size_t i = 0; i < states.size(); ++i)
    ASSERT_NEAR(states[i], static_cast<double>(golden.states[i]), 2e-5) << i;
}

INSTANTIATE_TEST_SUITE_P(, Embedder, testing::ValuesIn(kEmbedders),
                         [](const auto& tested) { return std::string(tested.param); });

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing is refused";
}

TEST(Embedders, AreRefusedByThoseWhoWantTextOrDoNotKnowTheirAttention) {
  const Model model = load(gguf::File(golden_model_path("bert")));
  EXPECT_EQ(refusal([&] { require_head(model.parameters, "m.gguf"); }),
            "m.gguf: architecture 'bert' makes embeddings, no text (see `cairn embed`)");
  EXPECT_EQ(refusal([&] { require_plain(model, "m.gguf", "stacks do"); }),
            "m.gguf: stacks do not know attention to what lies behind: architecture 'bert' makes embeddings");
}

TEST(Embedders, HaveNoWindow) {
  ModelFile file("bert");
  file.metadata["bert.attention.causal"] = false;
  file.metadata["bert.attention.sliding_window"] = uint32_t{16};
  const gguf::File open = file.open();
  EXPECT_THAT(refusal([&] { load(open); }),
              testing::HasSubstr("bert.attention.sliding_window is 16: windows around a token are not"));
}

// A decoder whose file says that its tokens see the whole text.
TEST(Embedders, OtherArchitecturesAreNotReadAsSuch) {
  ModelFile file("qwen3");
  for (const std::string prefix : {"blk.0.", "blk.1."}) {
    file.tensors[prefix + "attn_q_norm.weight"] = {8};
    file.tensors[prefix + "attn_k_norm.weight"] = {8};
  }
  file.metadata["qwen3.attention.causal"] = false;
  const gguf::File open = file.open();
  EXPECT_THAT(
      refusal([&] { load(open); }),
      testing::HasSubstr("qwen3.attention.causal is false, which architecture 'qwen3' is not known for"));
}

}  // namespace
}  // namespace cairn::graph
