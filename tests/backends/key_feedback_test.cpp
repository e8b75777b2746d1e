// What 5-bit keys answer their errors with, against its definition in double precision.
#include "backends/cpu/key_feedback.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/temporary_folder.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/synth_vocabulary.hpp"

namespace cairn::cpu {
namespace {

constexpr uint32_t kWidth = 192, kHeads = 4, kKvHeads = 2, kLayers = 2, kVocabulary = 300;

struct Style {
  const char* architecture;
  uint32_t head;
  bool bias, norms, neox;
  bool whole = false;  // norms over all heads, and none in front
};

struct Tensor {
  std::string name;
  std::vector<uint64_t> shape;
  std::vector<float> values;
};

std::vector<Tensor> tensors(const Style& style) {
  std::mt19937 random(3);
  std::vector<Tensor> all;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, float mean, float deviation) {
    std::normal_distribution<float> normal(mean, deviation);
    std::vector<float> values(shape[0] * (shape.size() > 1 ? shape[1] : 1));
    for (float& value : values) value = normal(random);
    all.push_back({name, std::move(shape), std::move(values)});
  };
  add("token_embd.weight", {kWidth, kVocabulary}, 0, 1);
  add("output_norm.weight", {kWidth}, 1, 0);
  const uint32_t queries = kHeads * style.head, keys = kKvHeads * style.head;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    if (!style.whole) add(blk + "attn_norm.weight", {kWidth}, 1, 0.5f);
    for (const auto& [part, rows] : {std::pair("attn_q", queries), {"attn_k", keys}, {"attn_v", keys}}) {
      add(blk + part + ".weight", {kWidth, rows}, 0, 0.1f);
      if (style.bias) add(blk + part + ".bias", {rows}, 0, 2);
    }
    if (style.norms) add(blk + "attn_q_norm.weight", {style.whole ? queries : style.head}, 1, 0.5f);
    if (style.norms) add(blk + "attn_k_norm.weight", {style.whole ? keys : style.head}, 1, 0.5f);
    if (style.norms) add(blk + "post_attention_norm.weight", {kWidth}, 1, 0);
    if (style.norms) add(blk + "post_ffw_norm.weight", {kWidth}, 1, 0);
    add(blk + "attn_output.weight", {queries, kWidth}, 0, 0.1f);
    if (!style.whole) add(blk + "ffn_norm.weight", {kWidth}, 1, 0);
    add(blk + "ffn_gate.weight", {kWidth, 64}, 0, 0.1f);
    add(blk + "ffn_up.weight", {kWidth, 64}, 0, 0.1f);
    add(blk + "ffn_down.weight", {64, kWidth}, 0, 0.1f);
  }
  return all;
}

void write(const std::string& path, const Style& style, const std::vector<Tensor>& all) {
  gguf::Writer writer;
  const std::string family = style.architecture;
  writer.set("general.architecture", family);
  writer.set(family + ".block_count", kLayers);
  writer.set(family + ".embedding_length", kWidth);
  writer.set(family + ".feed_forward_length", uint32_t{64});
  writer.set(family + ".context_length", uint32_t{512});
  writer.set(family + ".attention.head_count", kHeads);
  writer.set(family + ".attention.head_count_kv", kKvHeads);
  writer.set(family + ".attention.key_length", style.head);
  writer.set(family + ".attention.value_length", style.head);
  writer.set(family + ".attention.layer_norm_rms_epsilon", 1e-5F);
  writer.set(family + ".rope.freq_base", 1e4F);
  if (style.norms && !style.whole) writer.set(family + ".attention.sliding_window", uint32_t{512});
  set_vocabulary(writer, synth_vocabulary(kVocabulary), "gpt-2");
  for (const Tensor& tensor : all) writer.add_tensor(tensor.name, Encoding::f32, tensor.shape);
  writer.write(path, [&](size_t index, const gguf::Writer::Sink& sink) {
    sink(std::as_bytes(std::span(all[index].values)));
  });
}

// y = x with each of its rows of n elements turned to a position, or by the Hadamard transform, and
// transposed.
template <class Turn>
std::vector<double> turned(const std::vector<double>& x, size_t n, const Turn& turn) {
  std::vector<double> y(n * n);
  for (size_t r = 0; r < n; ++r) {
    const std::vector<double> row = turn(std::vector<double>(
        x.begin() + static_cast<ptrdiff_t>(r * n), x.begin() + static_cast<ptrdiff_t>((r + 1) * n)));
    for (size_t i = 0; i < n; ++i) y[i * n + r] = row[i];
  }
  return y;
}

// E[q qᵀ] of a kv head's queries over positions, in the caches' basis: each input alone, and the bias.
std::vector<double> form(const Style& style, const std::vector<Tensor>& all, uint32_t layer, uint32_t head) {
  const size_t n = style.head;
  const auto values = [&](const std::string& part) -> const std::vector<float>& {
    const std::string name = "blk." + std::to_string(layer) + "." + part;
    return std::find_if(all.begin(), all.end(), [&](const Tensor& t) { return t.name == name; })->values;
  };
  std::vector<double> sum(n * n), mean(n * n);
  for (uint32_t h = head * 2; h < head * 2 + 2; ++h) {
    std::vector<double> squares(n * n);
    for (size_t x = 0; x <= kWidth; ++x) {
      if (x == kWidth && !style.bias) break;
      std::vector<double> q(n);
      for (size_t r = 0; r < n; ++r) {
        q[r] = static_cast<double>(x == kWidth ? values("attn_q.bias")[h * n + r]
                                               : values("attn_q.weight")[(h * n + r) * kWidth + x] *
                                                     (style.whole ? 1 : values("attn_norm.weight")[x]));
      }
      for (size_t i = 0; i < n * n; ++i) squares[i] += q[i / n] * q[i % n];
    }
    double power = style.whole ? 1 : 0;  // all heads are divided by the same
    for (size_t i = 0; i < n && !style.whole; ++i) power += squares[i * n + i] / static_cast<double>(n);
    for (size_t i = 0; i < n * n; ++i) {
      const auto gain = [&](size_t r) {
        return static_cast<double>(values("attn_q_norm.weight")[(style.whole ? h * n : 0) + r]);
      };
      sum[i] += style.norms ? squares[i] / power * gain(i / n) * gain(i % n) : squares[i];
    }
  }
  for (uint32_t position = 0; position < 2048; position += 32) {
    const auto rope = [&](std::vector<double> v) {
      for (size_t i = 0; i < n / 2; ++i) {
        const double angle = position * std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(n));
        const size_t first = style.neox ? i : 2 * i, second = style.neox ? i + n / 2 : 2 * i + 1;
        const double a = v[first], b = v[second], c = std::cos(angle), s = std::sin(angle);
        v[first] = a * c - b * s;
        v[second] = a * s + b * c;
      }
      return v;
    };
    const std::vector<double> both = turned(turned(sum, n, rope), n, rope);
    for (size_t i = 0; i < n * n; ++i) mean[i] += both[i] / 64;
  }
  const auto hadamard = [&](const std::vector<double>& v) {
    std::vector<double> y(n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j)
        y[i] += (__builtin_popcountll(i & j) % 2 == 0 ? 1 : -1) * v[j] / std::sqrt(static_cast<double>(n));
    }
    return y;
  };
  return turned(turned(mean, n, hadamard), n, hadamard);
}

class KeyFeedbackOf : public ::testing::TestWithParam<Style> {};

// U D Uᵀ is that form, with a hundredth of its mean power on the diagonal.
TEST_P(KeyFeedbackOf, TheWeightsIsTheQueriesForm) {
  const Style style = GetParam();
  const size_t n = style.head, stride = kernels::fed_back_stride(n);
  const testing::TemporaryFolder folder;
  const std::vector<Tensor> all = tensors(style);
  write(folder / "model.gguf", style, all);
  const gguf::File file(folder / "model.gguf");
  const graph::Model model = graph::load(file);
  const Plan plan(file, model, kernels::default_target(), false);
  ThreadPool pool(2);
  const KeyFeedback feedback(model, plan, pool);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (uint32_t head = 0; head < kKvHeads; ++head) {
      std::vector<double> g = form(style, all, layer, head), u(n * n), d(n);
      double mean = 0;
      for (size_t i = 0; i < n; ++i) mean += g[i * n + i] / static_cast<double>(n);
      for (size_t i = 0; i < n; ++i) g[i * n + i] += 0.01 * mean;
      const float* found = feedback.of(layer, head);
      ASSERT_NE(found, nullptr);
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) u[i * n + j] = i == j ? 1 : static_cast<double>(found[i * stride + j]);
        for (size_t j = 0; j <= i; ++j) EXPECT_EQ(found[i * stride + j], 0);
      }
      for (size_t j = n; j-- > 0;) {
        d[j] = g[j * n + j];
        for (size_t k = j + 1; k < n; ++k) d[j] -= u[j * n + k] * u[j * n + k] * d[k];
      }
      double worst = 0;
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
          double product = 0;
          for (size_t k = std::max(i, j); k < n; ++k) product += u[i * n + k] * d[k] * u[j * n + k];
          worst = std::max(worst, std::abs(product - g[i * n + j]));
        }
      }
      EXPECT_LT(worst, 1e-3 * mean) << "layer " << layer << ", head " << head;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, KeyFeedbackOf,
                         ::testing::Values(Style{"qwen2", 64, true, false, true},
                                           Style{"llama", 32, false, false, false},
                                           Style{"gemma3", 128, false, true, true},
                                           Style{"olmo2", 64, false, true, true, true}),
                         [](const auto& info) { return std::string(info.param.architecture); });

}  // namespace
}  // namespace cairn::cpu
