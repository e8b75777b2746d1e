#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/graph.hpp"
#include "quantize/scheme.hpp"

namespace cairn::stack {

// A linear product's matrix that a stack stores as blocks.
struct Source {
  const gguf::Tensor* tensor;
  uint32_t layer;
  quantize::Input input;  // count: none of a layer's
};

// Those of all layers, by layer and input. Left out: matrices whose rows are no multiple of 32 long.
std::vector<Source> linear_sources(const gguf::File& file, const graph::Model& model);
// The token embedding and the output head, once where they are one tensor; their layer is the one past the
// last. Left out as above.
std::vector<Source> vocabulary_sources(const gguf::File& file, const graph::Model& model);
// Each input's width in a layer, 0 where no matrix of ours reads it.
std::array<uint32_t, quantize::kInputs> input_widths(std::span<const Source> sources);

// [rows][columns] in float, the inputs rotated by quantize::Rotation(columns) if asked.
std::vector<float> read_matrix(const gguf::Tensor& tensor, bool rotate, ThreadPool& pool);

// Rows of a group: so many that padding takes least while no block exceeds `most_bytes`.
uint32_t choose_group_rows(uint32_t rows, uint32_t columns, uint64_t most_bytes);

}  // namespace cairn::stack
