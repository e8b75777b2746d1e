#include "stack/float_ops.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "backends/cpu/executor.hpp"
#include "base/interruptible.hpp"

namespace cairn::stack {

ValueAndSlope activation(graph::Activation kind, float x) {
  switch (kind) {
    case graph::Activation::gelu_tanh: {
      const float a = 0.7978845608f * (x + 0.044715f * x * x * x), t = std::tanh(a);
      const float da = 0.7978845608f * (1 + 3 * 0.044715f * x * x);
      return {0.5f * x * (1 + t), 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * da};
    }
    case graph::Activation::gelu_erf: {
      const float e = std::erf(x * std::numbers::sqrt2_v<float> / 2);
      const float density = std::exp(-x * x / 2) * 0.3989422804f;
      return {0.5f * x * (1 + e), 0.5f * (1 + e) + x * density};
    }
    case graph::Activation::silu: {
      const float s = 1 / (1 + std::exp(-x));
      return {x * s, s * (1 + x * (1 - s))};
    }
    case graph::Activation::none:
    case graph::Activation::silu_clamped:  // of mixtures, which the tuner does not see
    case graph::Activation::sigmoid:
    case graph::Activation::relu_squared:
      break;
  }
  return {x, 1};
}

namespace {

constexpr size_t kStrip = 64;  // tokens at once: the inner loops run along them
using Lanes = std::array<float, kStrip>;

// Calls body(first feature, features, first token, tokens) for each head and strip of tokens.
template <class Body>
void for_norms(const graph::Op& op, size_t tokens, size_t width, ThreadPool& pool, const Body& body) {
  const size_t heads = op.heads > 0 ? op.heads : 1, strips = (tokens + kStrip - 1) / kStrip;
  run_interruptible(pool, heads * strips, [&](size_t, size_t task) {
    const size_t first = task % strips * kStrip;
    body(task / strips * (width / heads), width / heads, first, std::min(kStrip, tokens - first));
  });
}

struct Statistics {
  Lanes mean{}, inverse{};  // of the deviation
};

// Of `count` tokens' features, a row of them each `stride`.
Statistics statistics(const graph::Op& op, const float* x, size_t features, size_t stride, size_t count) {
  std::array<double, kStrip> means{}, squares{};
  const auto n = static_cast<double>(features);
  for (size_t i = 0; i < features && op.kind == graph::OpKind::norm_layer; ++i) {
    for (size_t t = 0; t < count; ++t) means[t] += static_cast<double>(x[i * stride + t]) / n;
  }
  for (size_t i = 0; i < features; ++i) {
    for (size_t t = 0; t < count; ++t) {
      const double d = static_cast<double>(x[i * stride + t]) - means[t];
      squares[t] += d * d;
    }
  }
  Statistics s;
  for (size_t t = 0; t < count; ++t) {
    s.mean[t] = static_cast<float>(means[t]);
    s.inverse[t] = static_cast<float>(1 / std::sqrt(squares[t] / n + static_cast<double>(op.epsilon)));
  }
  return s;
}

}  // namespace

void norm_forward(const graph::Op& op, const std::vector<float>& weight, const std::vector<float>& bias,
                  size_t tokens, size_t width, const float* x, float* out, ThreadPool& pool) {
  for_norms(op, tokens, width, pool, [&](size_t first, size_t features, size_t begin, size_t count) {
    const size_t offset = first * tokens + begin;
    const Statistics s = statistics(op, x + offset, features, tokens, count);
    for (size_t i = 0; i < features; ++i) {
      const float* const from = x + offset + i * tokens;
      float* const to = out + offset + i * tokens;
      const float add = bias.empty() ? 0 : bias[i];
      for (size_t t = 0; t < count; ++t) to[t] = (from[t] - s.mean[t]) * s.inverse[t] * weight[i] + add;
    }
  });
}

void norm_backward(const graph::Op& op, const std::vector<float>& weight, size_t tokens, size_t width,
                   const float* x, const float* dy, float* dx, ThreadPool& pool) {
  for_norms(op, tokens, width, pool, [&](size_t first, size_t features, size_t begin, size_t count) {
    const auto n = static_cast<float>(features);
    const size_t offset = first * tokens + begin;
    const Statistics s = statistics(op, x + offset, features, tokens, count);
    Lanes along{}, sum{};
    for (size_t i = 0; i < features; ++i) {
      const float *const from = x + offset + i * tokens, *const slope = dy + offset + i * tokens;
      for (size_t t = 0; t < count; ++t) {
        along[t] += weight[i] * slope[t] * (from[t] - s.mean[t]) * s.inverse[t];
        sum[t] += weight[i] * slope[t];
      }
    }
    if (op.kind == graph::OpKind::norm_rms) sum = {};
    for (size_t i = 0; i < features; ++i) {
      const float *const from = x + offset + i * tokens, *const slope = dy + offset + i * tokens;
      float* const to = dx + offset + i * tokens;
      for (size_t t = 0; t < count; ++t) {
        to[t] = s.inverse[t] *
                (weight[i] * slope[t] - sum[t] / n - (from[t] - s.mean[t]) * s.inverse[t] * along[t] / n);
      }
    }
  });
}

void rope(const graph::Op& op, const std::vector<float>* factors, size_t tokens, size_t window,
          size_t head_size, bool backwards, float* x, ThreadPool& pool) {
  const size_t half = op.rope.dims / 2;
  std::vector<float> cosines(half * window), sines(half * window);
  for (size_t t = 0; t < window; ++t) {
    cpu::rope_table(op.rope, factors, static_cast<uint32_t>(t), window, cosines.data() + t, sines.data() + t);
  }
  run_interruptible(pool, op.heads * half, [&](size_t, size_t task) {
    const size_t head = task / half, i = task % half;
    const size_t low = op.rope.neox ? i : 2 * i, high = op.rope.neox ? i + half : 2 * i + 1;
    float* a = x + (head * head_size + low) * tokens;
    float* b = x + (head * head_size + high) * tokens;
    for (size_t t = 0; t < tokens; ++t) {
      const float c = cosines[i * window + t % window];
      const float s = backwards ? -sines[i * window + t % window] : sines[i * window + t % window];
      const float p = a[t], q = b[t];
      a[t] = p * c - q * s;
      b[t] = p * s + q * c;
    }
  });
}

void softmax_gradient(float* logits, size_t n, size_t stride, const float* bias, float cap,
                      std::span<const double, kSoftmaxTokens> draws) {
  std::array<float, kSoftmaxTokens> most;
  most.fill(-std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < n; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t) {
      float& y = logits[i * stride + t];
      if (bias != nullptr) y += bias[i];
      if (cap > 0) y = cap * std::tanh(y / cap);
      most[t] = std::max(most[t], y);
    }
  }
  std::array<double, kSoftmaxTokens> sums{}, cumulated{};
  for (size_t i = 0; i < n; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t)
      sums[t] += static_cast<double>(std::exp(logits[i * stride + t] - most[t]));
  }
  std::array<bool, kSoftmaxTokens> drawn{};
  for (size_t i = 0; i < n; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t) {
      float& y = logits[i * stride + t];
      const double p = static_cast<double>(std::exp(y - most[t])) / sums[t];
      cumulated[t] += p;
      const bool chosen = !drawn[t] && (cumulated[t] > draws[t] || i + 1 == n);
      drawn[t] = drawn[t] || chosen;
      const float slope = cap > 0 ? 1 - y / cap * (y / cap) : 1;
      y = (static_cast<float>(p) - (chosen ? 1.0f : 0.0f)) * slope;
    }
  }
}

double distillation_gradient(float* logits, float* teacher, size_t n, size_t stride, const float* bias,
                             float cap, float scale) {
  std::array<float, kSoftmaxTokens> most;
  most.fill(-std::numeric_limits<float>::infinity());
  std::array<float, kSoftmaxTokens> teachers_most = most;
  for (size_t i = 0; i < n; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t) {
      for (float* const values : {logits, teacher}) {
        float& y = values[i * stride + t];
        if (bias != nullptr) y += bias[i];
        if (cap > 0) y = cap * std::tanh(y / cap);
      }
      most[t] = std::max(most[t], logits[i * stride + t]);
      teachers_most[t] = std::max(teachers_most[t], teacher[i * stride + t]);
    }
  }
  // KL = Σ p (log p − log q), p = e / Σ e: the difference of the logits under p, and of the logarithms of
  // sums.
  std::array<double, kSoftmaxTokens> sums{}, teachers_sums{}, differences{};
  for (size_t i = 0; i < n; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t) {
      float &y = logits[i * stride + t], &u = teacher[i * stride + t];
      const float a = y - most[t], b = u - teachers_most[t];
      y = std::exp(a);
      u = std::exp(b);
      sums[t] += static_cast<double>(y);
      teachers_sums[t] += static_cast<double>(u);
      differences[t] += static_cast<double>(u * (b - a));
    }
  }
  double loss = 0;
  std::array<float, kSoftmaxTokens> share, teachers_share;
  for (size_t t = 0; t < kSoftmaxTokens; ++t) {
    loss += differences[t] / teachers_sums[t] + std::log(sums[t] / teachers_sums[t]);
    share[t] = scale / static_cast<float>(sums[t]);
    teachers_share[t] = scale / static_cast<float>(teachers_sums[t]);
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t t = 0; t < kSoftmaxTokens; ++t) {
      float& y = logits[i * stride + t];
      float slope = 1;
      if (cap > 0) {  // of the capped logit, which is at least −cap
        const float capped = std::max(most[t] + std::log(y), -cap) / cap;
        slope = 1 - capped * capped;
      }
      y = (y * share[t] - teacher[i * stride + t] * teachers_share[t]) * slope;
    }
  }
  return loss * static_cast<double>(scale);
}

}  // namespace cairn::stack
