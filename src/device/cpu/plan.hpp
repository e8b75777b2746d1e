#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernels.hpp"

namespace cairn::device::cpu {

// A matrix in the model file, or a run of its rows.
struct Matrix {
  const kernels::EncodingKernels* encoding = nullptr;
  const std::byte* rows_begin = nullptr;
  size_t row_bytes = 0, rows = 0, k = 0;
  size_t block_elements = 1;  // of the encoding
  const std::byte* row(size_t r) const { return rows_begin + r * row_bytes; }
};

// An op with its weights found. Vectors (norms, biases, RoPE factors) are copied as floats: they are small.
struct BoundOp {
  graph::Op op;
  Matrix matrix{};                             // linear, embed
  const std::vector<float>* weight = nullptr;  // norms; rope: divisors of the frequencies, or null
  const float* bias = nullptr;                 // norm_layer, linear; null if none
  uint32_t rope_table = 0;                     // rope: which of Plan::ropes
};

// Consecutive ops that run as one parallel region.
enum class StepKind : uint8_t { floats, linears, attention };
struct Step {
  StepKind kind;
  uint32_t layer;
  std::vector<BoundOp> ops;
  bool integer = false;  // linears: 8-bit activations (else float)
  // linears: 16-bit activations, as 8 bits and 8 more of what those left. The head's errors reach the logits
  // as they are, and its input is one vector.
  bool fine = false;
};

// The graph as the CPU runs it.
class Plan {
 public:
  Plan(const gguf::File& file, const graph::Model& model, kernels::Target target, bool float_only);

  // One subgraph's ops as steps.
  std::vector<Step> steps(const std::vector<graph::Op>& ops, uint32_t layer);

  std::vector<BoundOp> embed;
  std::vector<Step> layers;  // of all layers, one after the other
  std::vector<Step> head;
  std::vector<graph::Rope> ropes;                       // the different ones
  std::vector<const std::vector<float>*> rope_factors;  // null: none

 private:
  BoundOp bind(const graph::Op& op);
  const std::vector<float>* vector(const std::string& name);
  Matrix matrix(const std::string& name) const;

  const gguf::File& file_;
  kernels::Target target_;
  bool float_only_;
  std::unordered_map<std::string, std::vector<float>> vectors_;
};

}  // namespace cairn::device::cpu
