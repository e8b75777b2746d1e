#include "offload/chunks.hpp"

#include <algorithm>
#include <set>

#include "base/error.hpp"

namespace cairn::offload {
namespace {

// Where the plan is free, prompts are not cut into more: what a chunk costs beside its products would win
// anyway, and the dependencies of attention grow with the square.
constexpr uint32_t kMostChunks = 64;
constexpr uint32_t kSubgraphs = static_cast<uint32_t>(graph::SubgraphKind::count);

// Buffers that the static subgraphs of a layer hold for chunks of `tokens`: float results, int8 inputs.
uint64_t static_buffers(const ModelSizes& s, uint64_t tokens) {
  const uint64_t inputs = 2 * uint64_t{s.embedding} * (4 + 1);            // both norms: hidden, its int8
  const uint64_t qkv = 4 * (uint64_t{s.query} + 2 * uint64_t{s.kv});      //
  const uint64_t output = uint64_t{s.query} + 4 * uint64_t{s.embedding};  // int8 context, branch
  const uint64_t ffn = (s.gated ? 2 : 1) * 4 * uint64_t{s.ffn} + s.ffn + 4 * uint64_t{s.embedding};
  return tokens * (inputs + qkv + output + ffn);
}

// That of one attention subgraph: the context. Keys and values are the cache's, scores live a tile at a time.
uint64_t attention_buffers(const ModelSizes& s, uint64_t tokens) {
  return 4 * tokens * s.query;
}

uint64_t weight_bytes(const ModelSizes& s) {
  const uint64_t rows = uint64_t{s.query} + 2 * uint64_t{s.kv} + 2 * uint64_t{s.embedding} +
                        (s.gated ? 2 : 1) * uint64_t{s.ffn};
  return s.layers * (s.layer_weights() + 4 * rows);
}

}  // namespace

ModelSizes::ModelSizes(const graph::ModelShape& s)
    : layers(s.layers),
      embedding(s.embedding),
      ffn(s.ffn),
      heads(s.heads),
      query(s.heads * s.head_size),
      kv(s.kv_heads * s.head_size),
      gated(s.architecture != "phi2") {}

ModelSizes::ModelSizes(const graph::Model& model) {
  const graph::HyperParameters& p = model.parameters;
  layers = p.layers;
  embedding = p.embedding;
  ffn = p.ffn;
  heads = p.heads;
  query = p.heads * p.head_size;
  kv = p.kv_heads * p.head_size;
  const auto& feed_forward = model.layers.at(0)[static_cast<size_t>(graph::SubgraphKind::ffn)];
  gated = std::any_of(feed_forward.begin(), feed_forward.end(),
                      [](const graph::Op& op) { return op.kind == graph::OpKind::gate; });
}

uint64_t ModelSizes::layer_weights() const {
  const uint64_t d = embedding;
  return d * (query + 2 * uint64_t{kv}) + d * query + (gated ? 3 : 2) * d * ffn;
}

uint32_t ChunkPlan::padding() const {
  uint64_t tokens = 0;
  for (uint32_t length : lengths) tokens += length;
  return static_cast<uint32_t>(tokens - prompt);
}

void check_chunk(uint32_t chunk) {
  if (chunk != 0 && (chunk < kLeastChunk || chunk > kMostChunk))
    fail(ErrorCode::invalid_argument, "chunks: {} tokens are not between {} and {}", chunk, kLeastChunk,
         kMostChunk);
}

ChunkPlan plan_chunks(uint32_t prompt, uint32_t chunk, const PromptSeconds& seconds) {
  if (prompt == 0) fail(ErrorCode::invalid_argument, "chunks: the prompt is empty");
  check_chunk(chunk);
  ChunkPlan best;
  const auto consider = [&](uint32_t length, uint32_t tail) {
    ChunkPlan plan{prompt, length, std::vector<uint32_t>(prompt / length, length), 0};
    if (tail != 0) plan.lengths.push_back(tail);
    plan.seconds = seconds(plan.lengths);
    if (best.lengths.empty() || plan.seconds < best.seconds) best = std::move(plan);
  };
  for (uint32_t length = chunk ? chunk : kLeastChunk; length <= (chunk ? chunk : kMostChunk); length *= 2) {
    if (chunk == 0 && length < kMostChunk && prompt / length >= kMostChunks) continue;
    const uint32_t rest = prompt % length;
    consider(length, rest == 0 ? 0 : length);
    if (rest == 0) continue;
    for (uint32_t tail = kLeastChunk; tail < length; tail *= 2)
      if (tail >= rest) consider(length, tail);
  }
  return best;
}

GraphCount count_graphs(const ModelSizes& sizes, std::span<const uint32_t> lengths) {
  GraphCount count;
  count.chunks = static_cast<uint32_t>(lengths.size());
  count.chunk_subgraphs = kSubgraphs * sizes.layers;
  count.chunk_shared = (kSubgraphs - 1) * sizes.layers;
  count.unshared = count.chunks * count.chunk_subgraphs;
  std::set<uint32_t> distinct;
  for (uint32_t length : lengths) {
    const uint64_t fixed = weight_bytes(sizes) + sizes.layers * static_buffers(sizes, length);
    const uint64_t own = sizes.layers * attention_buffers(sizes, length);
    count.unshared_bytes += fixed + own;
    count.bytes += own;
    count.compiled += sizes.layers;
    if (!distinct.insert(length).second) continue;
    count.bytes += fixed;
    count.compiled += count.chunk_shared;
  }
  return count;
}

}  // namespace cairn::offload
