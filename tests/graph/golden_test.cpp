#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "graph/golden_models.hpp"
#include "graph/reference_interpreter.hpp"

namespace cairn::graph {
namespace {

class GoldenModel : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, OpListsGiveTransformersLogits) {
  const gguf::File file(golden_model_path(GetParam()));
  const Golden golden(GetParam());
  ReferenceInterpreter reference(file, kGoldenContext);
  ASSERT_EQ(reference.model().parameters.vocabulary, golden.vocabulary);
  const std::vector<double> logits = reference.run(golden.tokens);
  // transformers computes in float32; the reference in double. Logits reach ±13.
  double worst = 0;
  for (size_t i = 0; i < golden.positions.size(); ++i) {
    for (size_t v = 0; v < golden.vocabulary; ++v) {
      const size_t row = static_cast<size_t>(golden.positions[i]) * golden.vocabulary;
      worst = std::max(
          worst, std::abs(logits[row + v] - static_cast<double>(golden.logits[i * golden.vocabulary + v])));
    }
  }
  EXPECT_LT(worst, 5e-5);
}

INSTANTIATE_TEST_SUITE_P(, GoldenModel, testing::ValuesIn(kGoldenModels),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace cairn::graph
