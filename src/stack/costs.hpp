#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "stack/sources.hpp"
#include "text/tokenizer.hpp"

namespace cairn::stack {

// What errors cost: importance of every row of every source (RowImportance, VocabularyCost), then the moments
// of the vocabulary's sources, one after the other. Measured on the first `count` windows; token frequencies
// are those of all. Sources as linear_sources and vocabulary_sources give them, in this order.
std::vector<float> measure_costs(const gguf::File& file, const graph::Model& model,
                                 std::span<const Source> sources,
                                 std::span<const std::vector<text::Token>> windows, size_t count,
                                 ThreadPool& pool,
                                 const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace cairn::stack
