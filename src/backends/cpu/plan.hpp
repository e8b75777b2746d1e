#pragma once

#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernels.hpp"
#include "quantize/scheme.hpp"
#include "resident/set.hpp"

namespace cairn::cpu {

// A matrix in the model file, or a run of its rows; or one of a stack's, whose rows begin at `first_row`.
struct Matrix {
  const kernels::EncodingKernels* encoding = nullptr;
  const std::byte* rows_begin = nullptr;
  size_t row_bytes = 0, rows = 0, k = 0;
  size_t block_elements = 1;                     // of the encoding
  const resident::Matrix* stack = nullptr;       // then `encoding` is that of its exact rows
  const quantize::Rotation* rotation = nullptr;  // of the stack's columns; null: none
  uint32_t first_row = 0;
  const std::byte* row(size_t r) const { return rows_begin + r * row_bytes; }
};

// An op with its weights found. Vectors (norms, biases, RoPE factors) are copied as floats: they are small.
struct BoundOp {
  graph::Op op;
  Matrix matrix{};  // linear, expert_linear, head_linear, embed
  // Norms, delta_rule, selective_scan; convolve: [window][channels]; rope: divisors of the frequencies, or
  // null; route: factors of the experts, or null.
  const std::vector<float>* weight = nullptr;
  const std::vector<float>* skip = nullptr;  // selective_scan
  // norm_layer, linears, convolve, delta_rule, selective_scan, route; attention: sinks; null if none
  const float* bias = nullptr;
  uint32_t rope_table = 0;  // rope: which of Plan::ropes

  // expert_linear, head_linear: `matrix` and `bias` are those of the first expert or head; of each so many
  // rows lie in the file.
  size_t expert_rows = 0;
  const std::byte* expert_row(size_t expert, size_t r) const { return matrix.row(expert * expert_rows + r); }
  const float* expert_bias(size_t expert) const {
    return bias == nullptr ? nullptr : bias + expert * expert_rows;
  }
};

// Consecutive ops that run as one parallel region.
enum class StepKind : uint8_t { floats, linears, experts, heads, attention, recurrent };
struct Step {
  StepKind kind;
  uint32_t layer;
  std::vector<BoundOp> ops;
  bool integer = false;  // linears, experts, heads: 8-bit activations (else float)
  // linears: 16-bit activations, as 8 bits and 8 more of what those left. The head's errors reach the logits
  // as they are, and its input is one vector.
  bool fine = false;
  bool planes = false;  // linears: all matrices are a stack's, under the same rotation
};

// The graph as the CPU runs it.
class Plan {
 public:
  // set: of a stack's blocks, null for other files.
  Plan(const gguf::File& file, const graph::Model& model, kernels::Target target, bool float_only,
       resident::Set* set = nullptr);

  // One subgraph's ops as steps.
  std::vector<Step> steps(const std::vector<graph::Op>& ops, uint32_t layer);

  const std::string& path() const { return file_.path(); }
  kernels::Target target() const { return target_; }
  bool any_exact() const { return any_exact_; }  // whether the model is a stack that holds exact rows
  size_t rotation_scratch() const;               // floats that any of the matrices' rotations wants

  std::vector<BoundOp> embed;
  std::vector<Step> layers;  // of all layers, one after the other
  std::vector<Step> head;
  // Of graph::Draft; empty: the model has none.
  std::vector<BoundOp> draft_embed;
  std::vector<Step> draft_keys, draft_rest, draft_head;
  std::vector<graph::Rope> ropes;                       // the different ones
  std::vector<const std::vector<float>*> rope_factors;  // null: none
  resident::Set* const set;

 private:
  BoundOp bind(const graph::Op& op);
  const std::vector<float>* vector(const std::string& name);
  const std::vector<float>* ones(size_t count);  // norms without a weight
  const std::vector<float>* transposed(const std::string& name);
  const std::vector<float>& finite(const std::string& name);  // the same; Error numeric
  Matrix matrix(const std::string& name);
  Matrix stack_matrix(const resident::Matrix& found);
  bool only_planes_read(std::span<const graph::Op> ops, graph::Slot slot) const;

  const gguf::File& file_;
  kernels::Target target_;
  bool float_only_;
  bool any_exact_ = false;  // whether the stack holds exact rows
  std::unordered_map<std::string, std::vector<float>> vectors_, transposed_;
  std::map<uint32_t, quantize::Rotation> rotations_;  // by width
};

}  // namespace cairn::cpu
