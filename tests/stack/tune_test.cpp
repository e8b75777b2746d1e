// Distillation: its gradients against differences of the loss, and what tuning makes of a small stack.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "base/error.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "measure/evaluate.hpp"
#include "stack/differentiate.hpp"
#include "stack/encode.hpp"
#include "stack/float_ops.hpp"
#include "stack/restore.hpp"
#include "stack/small_stack.hpp"
#include "stack/verify.hpp"

namespace cairn::stack {
namespace {

class Tune : public SmallStack {
 protected:
  static EncodeOptions options() {
    EncodeOptions options = SmallStack::options();
    options.tune.steps = 48;
    options.tune.batch = 2;
    options.tune.windows = 8;
    return options;
  }
};

TEST_F(Tune, GradientsAreTheSlopesOfTheDistance) {
  const auto model = llm::Model::load(path("model.gguf"));
  const gguf::File& file = model->file();
  const graph::Model graph = graph::load(file);
  const auto windows = measure::evaluation_windows(*model->tokenizer(), text_, 64, 2);
  ThreadPool pool(2);
  // The student: some matrices' rows louder, and one row by `change` more.
  std::string changed;
  uint64_t changed_row = 0;
  float change = 0;
  const auto read_row = [&](const std::string& tensor, uint64_t row, size_t, float* out) {
    if (!tensor.starts_with("blk.")) return false;
    const gguf::Tensor& t = file.tensor(tensor);
    kernels::kernel_set(kernels::default_target())
        .encoding(t.encoding)
        .dequantize(t.data.data() + row * t.row_bytes(), t.row_elements(), out);
    const float factor = (1.2f + 0.01f * static_cast<float>(row % 7)) *
                         (tensor == changed && row == changed_row ? 1 + change : 1.0f);
    for (size_t i = 0; i < t.row_elements(); ++i) out[i] *= factor;
    return true;
  };
  Differentiator teacher(file, graph, 64, pool), student(file, graph, 64, pool, read_row);
  const Differentiator::Buffer features = teacher.features(windows, {});
  for (const char* tensor : {"blk.0.attn_k.weight", "blk.0.ffn_down.weight", "blk.1.attn_v.weight",
                             "blk.1.ffn_gate.weight", "blk.1.attn_output.weight"}) {
    std::vector<double> slopes(256);
    changed = tensor;
    change = 0;
    const auto visit = [&](uint32_t, const graph::Op& op, const float* dy, const float* y, size_t tokens) {
      for (size_t row = 0; row < op.rows && op.weight == changed; ++row) {
        for (size_t t = row * tokens; t < (row + 1) * tokens; ++t)
          slopes[row] += static_cast<double>(dy[t]) * static_cast<double>(y[t]);
      }
    };
    student.distil(windows, features, visit, {});
    changed_row =
        static_cast<uint64_t>(std::max_element(slopes.begin(), slopes.end(),
                                               [](double a, double b) { return std::abs(a) < std::abs(b); }) -
                              slopes.begin());
    change = 0.1f;
    const double above = student.distil(windows, features, {}, {});
    change = -0.1f;
    const double below = student.distil(windows, features, {}, {});
    const double slope = slopes[changed_row];
    EXPECT_NEAR((above - below) / 0.2, slope, 0.03 * std::abs(slope)) << tensor << " row " << changed_row;
  }
}

TEST_F(Tune, TheDistanceIsTheDefinition) {
  constexpr size_t kWords = 40;
  std::vector<float> mine(kWords * kSoftmaxTokens), teachers(mine.size());
  for (size_t i = 0; i < mine.size(); ++i) {
    mine[i] = 3 * std::sin(static_cast<float>(i) * 1.7f);
    teachers[i] = 4 * std::cos(static_cast<float>(i) * 0.9f);
  }
  for (const float cap : {0.0f, 2.5f}) {
    const auto capped = [&](float y) { return static_cast<double>(cap > 0 ? cap * std::tanh(y / cap) : y); };
    double expected = 0;
    std::vector<double> gradients(mine.size());
    for (size_t t = 0; t < kSoftmaxTokens; ++t) {
      double q = 0, p = 0;
      for (size_t i = 0; i < kWords; ++i) {
        q += std::exp(capped(mine[i * kSoftmaxTokens + t]));
        p += std::exp(capped(teachers[i * kSoftmaxTokens + t]));
      }
      for (size_t i = 0; i < kWords; ++i) {
        const double y = capped(mine[i * kSoftmaxTokens + t]), u = capped(teachers[i * kSoftmaxTokens + t]);
        expected += std::exp(u) / p * (u - std::log(p) - y + std::log(q));
        const double slope = cap > 0 ? 1 - std::pow(y / static_cast<double>(cap), 2) : 1;
        gradients[i * kSoftmaxTokens + t] = (std::exp(y) / q - std::exp(u) / p) * slope;
      }
    }
    std::vector<float> logits = mine, overwritten = teachers;
    EXPECT_NEAR(
        distillation_gradient(logits.data(), overwritten.data(), kWords, kSoftmaxTokens, nullptr, cap, 0.5f),
        expected / 2, 1e-4 * expected);
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(static_cast<double>(logits[i]), gradients[i] / 2, 1e-5) << i;
  }
}

TEST_F(Tune, BringsAStackNearerToItsSource) {
  EncodeOptions tuned = options();
  tuned.windows = 0;  // codes that know nothing of the inputs leave much to learn
  EncodeOptions plain = tuned;
  plain.tune.steps = 0;
  encode("plain.gguf", plain);
  const EncodeReport report = encode("tuned.gguf", tuned);
  EXPECT_LT(report.loss_after, 0.9 * report.loss_before);
  // The same codes in the same order, whole.
  const Reader before(path("plain.gguf")), after(path("tuned.gguf"));
  ASSERT_EQ(before.layout().blocks.size(), after.layout().blocks.size());
  ASSERT_EQ(before.layout().file_bytes, after.layout().file_bytes);
  for (size_t i = 0; i < before.layout().blocks.size(); ++i) {
    EXPECT_EQ(before.layout().blocks[i].matrix, after.layout().blocks[i].matrix);
    EXPECT_EQ(before.layout().blocks[i].offset, after.layout().blocks[i].offset);
  }
  EXPECT_TRUE(verify(after).bad.empty());
  // The last block, too, which the whole file alone has.
  const Block& last = before.layout().blocks.back();
  EXPECT_TRUE(content("plain.gguf").substr(last.offset, last.bytes) !=
              content("tuned.gguf").substr(last.offset, last.bytes));
}

TEST_F(Tune, AnInterruptedRunGoesOnToTheSameFile) {
  encode("whole.gguf", options());
  bool interrupted = false;
  const auto stop = [&](std::string_view stage, uint64_t done, uint64_t) {
    if (stage == "tuning" && done >= 20 && !std::exchange(interrupted, true))
      fail(ErrorCode::cancelled, "interrupted");
  };
  EXPECT_THROW(encode("again.gguf", options(), stop), Error);
  encode("again.gguf", options(), stop);
  EXPECT_TRUE(content("again.gguf") == content("whole.gguf"));
}

TEST_F(Tune, OtherOptionsOfTuningTakeTheCodesOver) {
  const auto stop = [](std::string_view stage, uint64_t done, uint64_t) {
    if (stage == "tuning" && done >= 20) fail(ErrorCode::cancelled, "interrupted");
  };
  EXPECT_THROW(encode("other.gguf", options(), stop), Error);
  EncodeOptions fewer = options();
  fewer.tune.steps = 10;
  EXPECT_EQ(encode("fewer.gguf", fewer).resumed, 0U);
  const EncodeReport report = encode("other.gguf", fewer);
  EXPECT_EQ(report.resumed, report.matrices);
  EXPECT_TRUE(content("other.gguf") == content("fewer.gguf")) << "the states of other options do not count";
}

TEST_F(Tune, NeedsATextAndPlanes) {
  EncodeOptions avd = options();
  avd.codec = Codec::avd;
  EXPECT_THROW(encode("avd.gguf", avd), Error);
  EncodeOptions blind = options();
  blind.windows = 0;
  EXPECT_THROW(encode_stack(*llm::Model::load(path("model.gguf")), "", blind, path("blind.gguf")), Error);
  EXPECT_FALSE(std::filesystem::exists(path("blind.gguf")));
}

}  // namespace
}  // namespace cairn::stack
