// What tunes stacks, on every family: its forward pass against transformers' logits, its gradients against
// differences of the loss.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "graph/golden_models.hpp"
#include "kernels/kernel_set.hpp"
#include "stack/differentiate.hpp"

namespace cairn::stack {
namespace {

constexpr uint32_t kWindow = graph::kGoldenContext;

class Families : public testing::TestWithParam<const char*> {
 protected:
  std::vector<float> row(const std::string& tensor, uint64_t index) const {
    const gguf::Tensor& t = file_.tensor(tensor);
    std::vector<float> values(t.row_elements());
    kernels::kernel_set(kernels::default_target())
        .encoding(t.encoding)
        .dequantize(t.data.data() + index * t.row_bytes(), values.size(), values.data());
    return values;
  }
  // The golden's tokens, and more to fill a window: they see those before them, and are not seen.
  std::vector<std::vector<text::Token>> windows() const {
    std::vector<text::Token> tokens(golden_.tokens.begin(), golden_.tokens.end());
    while (tokens.size() < kWindow) tokens.push_back(static_cast<text::Token>(3 + tokens.size()));
    return {tokens};
  }

  gguf::File file_{graph::golden_model_path(GetParam())};
  graph::Golden golden_{GetParam()};
  graph::Model model_ = graph::load(file_, kWindow);
  ThreadPool pool_{2};
};

TEST_P(Families, FeaturesTimesTheHeadAreTransformersLogits) {
  Differentiator differentiator(file_, model_, kWindow, pool_);
  const Differentiator::Buffer features = differentiator.features(windows(), {});
  const graph::HyperParameters& p = model_.parameters;
  const std::vector<float> bias = p.output_bias ? row("output.bias", 0) : std::vector<float>(p.vocabulary);
  for (uint32_t token = 0; token < p.vocabulary; ++token) {
    const std::vector<float> head = row(p.tied_output ? "token_embd.weight" : "output.weight", token);
    for (size_t i = 0; i < golden_.positions.size(); ++i) {
      double sum = bias[token];
      for (size_t f = 0; f < head.size(); ++f) {
        sum += static_cast<double>(head[f]) *
               static_cast<double>(features[f * kWindow + static_cast<size_t>(golden_.positions[i])]);
      }
      ASSERT_NEAR(sum * p.logit_scale, golden_.logits[i * golden_.vocabulary + token], 3e-3)
          << golden_.positions[i] << " " << token;
    }
  }
}

TEST_P(Families, GradientsAreTheSlopesOfTheDistance) {
  // The student: all rows a little louder, and one by `change` more.
  std::string changed;
  uint64_t changed_row = 0;
  float change = 0;
  const auto read_row = [&](const std::string& tensor, uint64_t index, size_t, float* out) {
    if (!tensor.starts_with("blk.")) return false;
    const std::vector<float> values = row(tensor, index);
    const float factor = (1.02f + 0.01f * static_cast<float>(index % 7)) *
                         (tensor == changed && index == changed_row ? 1 + change : 1.0f);
    std::transform(values.begin(), values.end(), out, [&](float v) { return v * factor; });
    return true;
  };
  Differentiator teacher(file_, model_, kWindow, pool_), student(file_, model_, kWindow, pool_, read_row);
  const auto all = windows();
  const Differentiator::Buffer features = teacher.features(all, {});
  for (const char* part : {"attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"}) {
    changed = "blk.0." + std::string(part) + ".weight";
    if (file_.find_tensor(changed) == nullptr) continue;
    std::vector<double> slopes(file_.tensor(changed).rows());
    change = 0;
    const auto visit = [&](uint32_t, const graph::Op& op, const float* dy, const float* y, size_t tokens) {
      for (size_t r = 0; r < op.rows && op.weight == changed; ++r) {
        for (size_t t = r * tokens; t < (r + 1) * tokens; ++t)
          slopes[op.row_begin + r] += static_cast<double>(dy[t]) * static_cast<double>(y[t]);
      }
    };
    student.distil(all, features, visit, {});
    changed_row =
        static_cast<uint64_t>(std::max_element(slopes.begin(), slopes.end(),
                                               [](double a, double b) { return std::abs(a) < std::abs(b); }) -
                              slopes.begin());
    constexpr float kStep = 0.01f;
    change = kStep;
    const double above = student.distil(all, features, {}, {});
    change = -kStep;
    const double below = student.distil(all, features, {}, {});
    const double slope = slopes[changed_row];
    EXPECT_NEAR((above - below) / (2 * static_cast<double>(kStep)), slope, 0.03 * std::abs(slope))
        << changed << " row " << changed_row;
  }
}

INSTANTIATE_TEST_SUITE_P(, Families, testing::ValuesIn(graph::kDenseModels),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace cairn::stack
