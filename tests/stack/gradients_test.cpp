// Gradients against differences of the functions themselves.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "stack/attention.hpp"
#include "stack/differentiate.hpp"
#include "stack/float_ops.hpp"
#include "stack/trainable.hpp"

namespace cairn::stack {
namespace {

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// d(weights · f(x)) along some coordinates of x, against `gradient`.
template <class Function>
void expect_gradient(std::vector<float>& x, const std::vector<float>& weights,
                     const std::vector<float>& gradient, const Function& f) {
  for (size_t i = 3; i < x.size(); i += x.size() / 23 + 1) {
    const float kept = x[i], step = 1e-2f;
    x[i] = kept + step;
    const double above = dot(f(), weights);
    x[i] = kept - step;
    const double below = dot(f(), weights);
    x[i] = kept;
    const double slope = (above - below) / (2 * static_cast<double>(step));
    EXPECT_NEAR(static_cast<double>(gradient[i]), slope, 0.02 * std::abs(slope) + 0.01) << i;
  }
}

class AttentionGradient : public ::testing::TestWithParam<std::pair<uint32_t, float>> {};

TEST_P(AttentionGradient, IsTheSlope) {
  ThreadPool pool(2);
  graph::Op op{.kind = graph::OpKind::attention};
  op.factor = 0.4f;
  op.window = GetParam().first;
  op.softcap = GetParam().second;
  const AttentionShape shape{4, 2, 8, 256, 128, op};  // two texts of 128 tokens
  std::vector<float> q = random_values(4 * 8 * 256, 1), k = random_values(2 * 8 * 256, 2),
                     v = random_values(2 * 8 * 256, 3);
  const std::vector<float> dy = random_values(q.size(), 4);
  const auto forward = [&] {
    std::vector<float> context(q.size());
    attention_forward(shape, q.data(), k.data(), v.data(), context.data(), pool);
    return context;
  };
  std::vector<float> dq(q.size()), dk(k.size()), dv(v.size());
  attention_backward(shape, q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data(), pool);
  expect_gradient(q, dy, dq, forward);
  expect_gradient(k, dy, dk, forward);
  expect_gradient(v, dy, dv, forward);
}
INSTANTIATE_TEST_SUITE_P(Kinds, AttentionGradient,
                         ::testing::Values(std::pair(0u, 0.0f), std::pair(40u, 0.0f), std::pair(0u, 2.0f)));

TEST(Attention, IsTheDefinition) {
  ThreadPool pool(1);
  graph::Op op{.kind = graph::OpKind::attention};
  op.factor = 0.3f;
  op.window = 70;
  const size_t tokens = 128, head = 8;
  const AttentionShape shape{2, 1, head, tokens, tokens, op};
  const auto q = random_values(2 * head * tokens, 5), k = random_values(head * tokens, 6),
             v = random_values(head * tokens, 7);
  std::vector<float> context(q.size());
  attention_forward(shape, q.data(), k.data(), v.data(), context.data(), pool);
  for (size_t h = 0; h < 2; ++h) {
    for (const size_t t : {size_t{0}, size_t{69}, size_t{70}, size_t{127}}) {
      std::vector<double> sum(head);
      double total = 0;
      for (size_t key = t < 70 ? 0 : t - 69; key <= t; ++key) {
        double score = 0;
        for (size_t d = 0; d < head; ++d)
          score +=
              static_cast<double>(q[(h * head + d) * tokens + t]) * static_cast<double>(k[d * tokens + key]);
        const double weight = std::exp(score * 0.3);
        total += weight;
        for (size_t d = 0; d < head; ++d) sum[d] += weight * static_cast<double>(v[d * tokens + key]);
      }
      for (size_t d = 0; d < head; ++d)
        EXPECT_NEAR(static_cast<double>(context[(h * head + d) * tokens + t]), sum[d] / total, 1e-5);
    }
  }
}

TEST(NormGradient, IsTheSlope) {
  ThreadPool pool(1);
  for (const auto kind : {graph::OpKind::norm_rms, graph::OpKind::norm_layer}) {
    for (const uint32_t heads : {0u, 2u}) {
      graph::Op op{.kind = kind};
      op.epsilon = 1e-5f;
      op.heads = heads;
      const size_t tokens = 64, width = 12;
      std::vector<float> x = random_values(width * tokens, 8);
      const auto weight = random_values(heads > 0 ? width / heads : width, 9),
                 dy = random_values(x.size(), 10);
      std::vector<float> dx(x.size());
      norm_backward(op, weight, tokens, width, x.data(), dy.data(), dx.data(), pool);
      expect_gradient(x, dy, dx, [&] {
        std::vector<float> out(x.size());
        norm_forward(op, weight, {}, tokens, width, x.data(), out.data(), pool);
        return out;
      });
    }
  }
}

TEST(ActivationSlope, IsTheSlope) {
  for (const auto kind :
       {graph::Activation::silu, graph::Activation::gelu_tanh, graph::Activation::gelu_erf}) {
    for (float x = -4; x < 4; x += 0.37f) {
      const float slope = (activation(kind, x + 0.01f).value - activation(kind, x - 0.01f).value) / 0.02f;
      EXPECT_NEAR(activation(kind, x).slope, slope, 2e-3f);
    }
  }
}

TEST(SoftmaxGradient, IsTheSoftmaxLessTheLabel) {
  std::vector<float> logits(5 * kSoftmaxTokens);
  for (size_t i = 0; i < 5; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t)
      logits[i * kSoftmaxTokens + t] = std::log(static_cast<float>(i + 1));
  }
  std::array<double, kSoftmaxTokens> draws{};
  draws[0] = 0.0, draws[1] = 0.19, draws[2] = 0.9999;  // cumulated: 1/15, 3/15, 6/15, 10/15, 1
  softmax_gradient(logits.data(), 5, kSoftmaxTokens, nullptr, 0, draws);
  const std::array<size_t, 3> labels = {0, 1, 4};
  for (size_t t = 0; t < 3; ++t) {
    for (size_t i = 0; i < 5; ++i) {
      const float expected = static_cast<float>(i + 1) / 15 - (i == labels[t] ? 1.0f : 0.0f);
      EXPECT_NEAR(logits[i * kSoftmaxTokens + t], expected, 1e-6f);
    }
  }
}

// An op that nobody has taught it must not be passed over, wherever it stands.
TEST(Differentiator, AnUnknownOpIsNamed) {
  const cairn::testing::TemporaryFolder folder;
  cairn::testing::write_small_llama(folder / "model.gguf");
  const gguf::File file(folder / "model.gguf");
  ThreadPool pool(1);
  const graph::Model known = graph::load(file);
  check_trainable(known);
  const auto expect_refused = [&](graph::OpList graph::Model::*list, const graph::Op& op,
                                  const std::string& line) {
    graph::Model model = known;
    (list == nullptr ? model.layers[1].front() : model.*list).push_back(op);
    cairn::testing::expect_error(ErrorCode::unsupported, line, [&] { check_trainable(model); });
    cairn::testing::expect_error(ErrorCode::unsupported, line,
                                 [&] { Differentiator(file, model, 64, pool); });
  };
  const auto op = [](graph::OpKind kind, graph::Slot slot) {
    return graph::Op{.kind = kind, .input = slot, .output = slot};
  };
  for (const graph::OpKind kind :
       {graph::OpKind::rotate, graph::OpKind::softcap, graph::OpKind::embed, graph::OpKind::route,
        graph::OpKind::expert_linear, graph::OpKind::combine, graph::OpKind::weigh, graph::OpKind::part,
        graph::OpKind::convolve, graph::OpKind::delta_rule,
        graph::OpKind::activate /* without an activation */})
    expect_refused(nullptr, op(kind, graph::Slot::normed),
                   fmt::format("op '{}' of normed is not known to the tuner in layer 1", graph::name(kind)));
  expect_refused(&graph::Model::embed, op(graph::OpKind::norm_rms, graph::Slot::hidden),
                 "op 'norm_rms' of hidden is not known to the tuner behind the embedding");
  expect_refused(&graph::Model::head, op(graph::OpKind::norm_rms, graph::Slot::logits),
                 "op 'norm_rms' of logits is not known to the tuner behind the output product");
}

}  // namespace
}  // namespace cairn::stack
