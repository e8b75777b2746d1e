#include "stack/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/interruptible.hpp"
#include "kernels/encode.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kStrip = kernels::kStripRows;  // queries at a time

// x [rows][stride], its columns [0, columns) → [columns][rows]
void transpose(const float* x, size_t rows, size_t stride, size_t columns, std::vector<float>& out) {
  out.resize(rows * columns);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) out[c * rows + r] = x[r * stride + c];
  }
}

// The weights of one head's strip of queries.
class Strip {
 public:
  Strip(const AttentionShape& shape, const kernels::EncodeKernels& kernels, size_t query)
      : shape_(shape),
        kernels_(kernels),
        first_(query),
        begin_(shape.op.window == 0 || query + 1 <= shape.op.window
                   ? 0
                   : (query + 1 - shape.op.window) / kStrip * kStrip),
        keys_(query + kStrip - begin_) {}

  size_t begin() const { return begin_; }
  size_t keys() const { return keys_; }

  // q, k: of the head, at the window's first token. Leaves the softmax in weights [keys][kStrip] and, where
  // there is a cap, its slope in `slopes`.
  void weigh(const float* q, const float* k, std::vector<float>& weights, std::vector<float>& slopes) const {
    weights.assign(keys_ * kStrip, 0.0f);
    kernels_.multiply_add(keys_, shape_.head_size, shape_.op.factor, k + begin_, shape_.tokens, q + first_,
                          shape_.tokens, weights.data(), kStrip);
    const float cap = shape_.op.softcap;
    slopes.assign(cap > 0 ? weights.size() : 0, 1.0f);
    for (size_t i = 0; i < slopes.size(); ++i) {
      const float t = std::tanh(weights[i] / cap);
      weights[i] = cap * t;
      slopes[i] = 1 - t * t;
    }
    std::array<float, kStrip> most, sums{};
    most.fill(-std::numeric_limits<float>::infinity());
    for (size_t i = 0; i < keys_; ++i) {
      for (size_t r = first_seeing(i); r < end_seeing(i); ++r)
        most[r] = std::max(most[r], weights[i * kStrip + r]);
    }
    for (size_t i = 0; i < keys_; ++i) {
      float* const row = weights.data() + i * kStrip;
      const size_t begin = first_seeing(i), end = end_seeing(i);
      std::fill(row, row + begin, 0.0f);
      std::fill(row + end, row + kStrip, 0.0f);
      for (size_t r = begin; r < end; ++r) {
        row[r] = std::exp(row[r] - most[r]);
        sums[r] += row[r];
      }
    }
    for (size_t i = 0; i < keys_; ++i) {
      for (size_t r = 0; r < kStrip; ++r) weights[i * kStrip + r] /= sums[r];
    }
  }

  const kernels::EncodeKernels& kernels() const { return kernels_; }

 private:
  // The strip's queries that see key begin() + i: [first, end), end at least first.
  size_t first_seeing(size_t i) const {
    const size_t key = begin_ + i;
    return key > first_ ? std::min(key - first_, kStrip) : 0;
  }
  size_t end_seeing(size_t i) const {
    if (shape_.op.window == 0) return kStrip;
    const size_t end = begin_ + i + shape_.op.window;  // of the positions that see it
    return std::max(end > first_ ? std::min(end - first_, kStrip) : 0, first_seeing(i));
  }

  const AttentionShape& shape_;
  const kernels::EncodeKernels& kernels_;
  size_t first_, begin_, keys_;
};

// body(window's first token, kv head)
template <class Body>
void for_heads(const AttentionShape& shape, ThreadPool& pool, const Body& body) {
  run_interruptible(pool, shape.tokens / shape.window * shape.kv_heads, [&](size_t, size_t task) {
    body(task / shape.kv_heads * shape.window, task % shape.kv_heads);
  });
}

}  // namespace

void attention_forward(const AttentionShape& s, const float* q, const float* k, const float* v,
                       float* context, ThreadPool& pool) {
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  for_heads(s, pool, [&](size_t start, size_t kv) {
    std::vector<float> values, weights, slopes;
    transpose(v + kv * s.head_size * s.tokens + start, s.head_size, s.tokens, s.window, values);
    const size_t group = s.heads / s.kv_heads;
    for (size_t head = kv * group; head < (kv + 1) * group; ++head) {
      const size_t at = head * s.head_size * s.tokens + start;
      for (size_t query = 0; query < s.window; query += kStrip) {
        const Strip strip(s, kernels, query);
        strip.weigh(q + at, k + kv * s.head_size * s.tokens + start, weights, slopes);
        for (size_t d = 0; d < s.head_size; ++d)
          std::fill_n(context + at + d * s.tokens + query, kStrip, 0.0f);
        strip.kernels().multiply_add(s.head_size, strip.keys(), 1,
                                     values.data() + strip.begin() * s.head_size, s.head_size, weights.data(),
                                     kStrip, context + at + query, s.tokens);
      }
    }
  });
}

void attention_backward(const AttentionShape& s, const float* q, const float* k, const float* v,
                        const float* dcontext, float* dq, float* dk, float* dv, ThreadPool& pool) {
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  for_heads(s, pool, [&](size_t start, size_t kv) {
    const size_t kv_at = kv * s.head_size * s.tokens + start, group = s.heads / s.kv_heads;
    std::vector<float> keys, weights, slopes, dweights, rows, turned;
    transpose(k + kv_at, s.head_size, s.tokens, s.window, keys);
    // c [head_size][keys] += Σ over the strip's queries of x [head_size][query] · w [key][query]
    const auto scatter = [&](const Strip& strip, const float* x, const std::vector<float>& w, float* c) {
      transpose(x, s.head_size, s.tokens, kStrip, rows);
      transpose(w.data(), strip.keys(), kStrip, kStrip, turned);
      for (size_t i = 0; i < strip.keys(); i += kStrip) {
        strip.kernels().multiply_add(s.head_size, kStrip, 1, rows.data(), s.head_size, turned.data() + i,
                                     strip.keys(), c + strip.begin() + i, s.tokens);
      }
    };
    for (size_t head = kv * group; head < (kv + 1) * group; ++head) {
      const size_t at = head * s.head_size * s.tokens + start;
      for (size_t query = 0; query < s.window; query += kStrip) {
        const Strip strip(s, kernels, query);
        strip.weigh(q + at, k + kv_at, weights, slopes);
        dweights.assign(weights.size(), 0.0f);
        strip.kernels().multiply_add(strip.keys(), s.head_size, 1, v + kv_at + strip.begin(), s.tokens,
                                     dcontext + at + query, s.tokens, dweights.data(), kStrip);
        std::array<float, kStrip> means{};
        for (size_t i = 0; i < weights.size(); ++i) means[i % kStrip] += weights[i] * dweights[i];
        for (size_t i = 0; i < weights.size(); ++i)
          dweights[i] = weights[i] * (dweights[i] - means[i % kStrip]) * s.op.factor;
        for (size_t i = 0; i < slopes.size(); ++i) dweights[i] *= slopes[i];
        scatter(strip, dcontext + at + query, weights, dv + kv_at);
        scatter(strip, q + at + query, dweights, dk + kv_at);
        strip.kernels().multiply_add(s.head_size, strip.keys(), 1, keys.data() + strip.begin() * s.head_size,
                                     s.head_size, dweights.data(), kStrip, dq + at + query, s.tokens);
      }
    }
  });
}

}  // namespace cairn::stack
