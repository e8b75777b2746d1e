// The float work between products, forwards and backwards, on activations [features][tokens].
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "graph/graph.hpp"

namespace cairn::stack {

// body(begin, end) over parts of [0, n).
template <class Body>
void for_parts(size_t n, ThreadPool& pool, const Body& body) {
  constexpr size_t kPart = size_t{1} << 15;
  pool.run((n + kPart - 1) / kPart, [&](size_t, size_t part) {
    body(part * kPart, n - part * kPart < kPart ? n : (part + 1) * kPart);
  });
}

struct ValueAndSlope {
  float value, slope;
};
ValueAndSlope activation(graph::Activation kind, float x);

// norm_rms (each of op.heads heads by itself where there are any) and norm_layer; bias may be empty.
void norm_forward(const graph::Op& op, const std::vector<float>& weight, const std::vector<float>& bias,
                  size_t tokens, size_t width, const float* x, float* out, ThreadPool& pool);
void norm_backward(const graph::Op& op, const std::vector<float>& weight, size_t tokens, size_t width,
                   const float* x, const float* dy, float* dx, ThreadPool& pool);

// In place; positions count from 0 in each window. backwards: the inverse rotation (times the factor of
// attention, as forwards), which takes gradients back.
void rope(const graph::Op& op, const std::vector<float>* factors, size_t tokens, size_t window,
          size_t head_size, bool backwards, float* x, ThreadPool& pool);

// The logits of kSoftmaxTokens tokens (element i of token t at logits[i · stride + t]) become the gradients
// of −log p(label): softmax less one at the label, which is the first whose cumulated probability exceeds the
// token's draw in [0, 1). bias may be null, cap 0.
constexpr size_t kSoftmaxTokens = 16;
void softmax_gradient(float* logits, size_t n, size_t stride, const float* bias, float cap,
                      std::span<const double, kSoftmaxTokens> draws);

// For the same tokens: the logits become scale times the gradients of KL(teacher ‖ model), the teacher's are
// overwritten. Returns scale times the sum of the KL, in nats.
double distillation_gradient(float* logits, float* teacher, size_t n, size_t stride, const float* bias,
                             float cap, float scale);

}  // namespace cairn::stack
