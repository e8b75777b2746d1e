#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "backends/cpu/plan.hpp"
#include "base/thread_pool.hpp"
#include "kernels/vector.hpp"

namespace cairn::cpu {

// What an error of an element of a 5-bit key asks of those behind it (AttentionKernels::store_fed_back), so
// that queries see little of both: with G = E[q qᵀ] = U D Uᵀ, U unit upper triangular, the rows of U (LDLQ:
// Chee 2023, arXiv 2307.13304; the same as GPTQ's). G is of the queries as RoPE turns them and caches rotate
// them, taken from the weights alone: those of an input of independent elements, in front of its norm's gain,
// and the bias. Keys' part of attention's error falls to a third with Qwen2.5-Coder-0.5B and to less than a
// half with 1.5B; the queries of the text itself would make that less by a third (docs/engine.md).
class KeyFeedback {
 public:
  // Layers whose query is no product of a matrix of the file (a stack's is there in parts) have none, nor
  // have heads of more than kernels::kMostFedBack elements.
  KeyFeedback(const graph::Model& model, const Plan& plan, ThreadPool& pool);
  // Of a kv head, as store_fed_back takes it; null: none.
  const float* of(uint32_t layer, uint32_t head) const {
    const std::vector<float>& found = layers_[layer];
    return found.empty() ? nullptr : found.data() + head * each_;
  }

 private:
  size_t each_;  // floats of a kv head
  std::vector<std::vector<float>> layers_;
};

}  // namespace cairn::cpu
