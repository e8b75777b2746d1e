#pragma once

#include <cstddef>

#include "base/thread_pool.hpp"
#include "graph/graph.hpp"

namespace cairn::stack {

// One attention op over windows that do not see each other. Activations are [features][tokens].
struct AttentionShape {
  size_t heads, kv_heads, head_size, tokens, window;  // window: tokens of each text, a multiple of 64
  const graph::Op& op;
};

void attention_forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                       float* context, ThreadPool& pool);
// dq, dk, dv must be zero.
void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* dcontext, float* dq, float* dk, float* dv, ThreadPool& pool);

}  // namespace cairn::stack
