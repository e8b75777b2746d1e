#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "stack/differentiate.hpp"
#include "text/tokenizer.hpp"

namespace cairn::stack {

using NumbersOfTensors = std::vector<std::pair<std::string, std::vector<float>>>;  // by name
struct Importance {
  // E[(dL/dy)²] of each of a tensor's rows: how much a squared error of that output costs, in nats a token
  // and times two. Rows that no product reads stay 0.
  NumbersOfTensors rows{};
  NumbersOfTensors tokens{};  // Σ (dL/dy)² over a tensor's rows, of each token of the windows
};
// ends: sees every batch, null: nobody. The windows are those from number `first` on, of `total` over which E
// is; 0: all.
Importance measure_importance(const gguf::File& file, const graph::Model& model,
                              std::span<const std::vector<text::Token>> windows, ThreadPool& pool,
                              const std::function<void(uint64_t done, uint64_t total)>& progress,
                              const Differentiator::Ends* ends = nullptr, size_t first = 0, size_t total = 0);

}  // namespace cairn::stack
