#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/encode.hpp"
#include "stack/fit_tables.hpp"
#include "stack/sources.hpp"

namespace cairn::stack {

// Gets [tokens][width] of a layer's linear input.
using ObserveInputs =
    std::function<void(uint32_t layer, quantize::Input input, const float* rows, size_t tokens)>;

// Most layers, and rows of each of their matrices.
constexpr size_t kSampledLayers = 3, kSampledRows = 2 * kernels::kStripRows;

// Rows to fit tables to: two strips of each matrix of some layers spread over the model, so many that their
// factors take 2.5 GiB at most. importance: [source][row]. observe: lets a text run through the model.
// progress: of the moments' factors, after it.
std::vector<TableSample> table_samples(std::span<const Source> sources,
                                       std::span<const std::vector<float>> importance, size_t layers,
                                       const std::function<void(const ObserveInputs&)>& observe,
                                       ThreadPool& pool,
                                       const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace cairn::stack
