// How a prompt is cut into chunks of fixed length, and what sharing graphs among them saves.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "graph/graph.hpp"
#include "graph/model_shapes.hpp"

namespace cairn::offload {

// What times and memory of a model's subgraphs follow from.
struct ModelSizes {
  uint32_t layers = 0, embedding = 0, ffn = 0;
  uint32_t heads = 0, query = 0, kv = 0;  // query, kv: widths of all heads together
  bool gated = true;                      // the feed-forward part has a gate beside up

  explicit ModelSizes(const graph::ModelShape& shape);
  explicit ModelSizes(const graph::Model& model);
  uint64_t layer_weights() const;  // of a layer's linear products
};

constexpr uint32_t kLeastChunk = 32, kMostChunk = 1024;

struct ChunkPlan {
  uint32_t prompt = 0, chunk = 0;
  std::vector<uint32_t> lengths;  // of each chunk's graphs; only the last may be shorter than `chunk`
  double seconds = 0;             // expected

  uint32_t padding() const;  // tokens computed in vain
  bool tail() const { return !lengths.empty() && lengths.back() != chunk; }
};

// Expected seconds of a prompt that runs as chunks of these lengths: from a profile or a simulated device.
using PromptSeconds = std::function<double(std::span<const uint32_t> lengths)>;

// 0, or 32 … 1,024: otherwise Error invalid_argument.
void check_chunk(uint32_t chunk);

// chunk 0: the one of 32, 64, … 1,024 that takes least. A last chunk that isn't full is padded, or run by
// graphs of 32, 64, … tokens, whichever takes less. Errors invalid_argument: an empty prompt, a chunk outside
// 32 … 1,024.
ChunkPlan plan_chunks(uint32_t prompt, uint32_t chunk, const PromptSeconds& seconds);

// The subgraphs of a prompt's chunks. A chunk has six a layer; all but attention are shared by chunks of one
// length; graphs of another length hold weights of their own, as devices that copy them do.
struct GraphCount {
  uint32_t chunks = 0, chunk_subgraphs = 0, chunk_shared = 0;  // of one chunk: 144 and 120 with 24 layers
  uint32_t compiled = 0, unshared = 0;                         // in all, with sharing and without
  uint64_t bytes = 0, unshared_bytes = 0;  // weights (int8, a float scale a row) and activation buffers
  uint64_t saved() const { return unshared_bytes - bytes; }
};
GraphCount count_graphs(const ModelSizes& sizes, std::span<const uint32_t> lengths);

}  // namespace cairn::offload
