// The token embedding and the output head (often one tensor) as planes: what errors of their rows cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "stack/differentiate.hpp"
#include "stack/moments.hpp"
#include "stack/sources.hpp"

namespace cairn::stack {

// A matrix of the vocabulary: an error e of its row v is predicted to cost ½ · importance[v] · e M eᵀ nats a
// token.
struct VocabularyCost {
  std::vector<float> importance;  // [rows]
  std::vector<float> moments;     // M in the rotated basis, [width][width]
};

// Of the logits: ½ · E[p(1 − p)] · e E[x xᵀ] eᵀ for features x. Of the rows looked up: ½ · frequency · e E[g
// gᵀ] eᵀ for the loss's gradient g. A tied tensor pays both; its rows share one M, the sum over rows, and
// weigh as much as the two parts' traces say.
class VocabularyCollector {
 public:
  VocabularyCollector(const graph::Model& model, ThreadPool& pool);

  Differentiator::Ends ends();
  // What was summed, and its like of other tokens added. Error format: not of this model's size.
  std::vector<std::byte> sums() const;
  void add_sums(std::span<const std::byte> sums);
  // windows: the text, for how often each token occurs; what is not in it gets a share of the rest, and each
  // row a little, so that no token is beyond use.
  VocabularyCost cost(const Source& source, std::span<const std::vector<text::Token>> windows) const;

 private:
  void add(MomentCollector& to, const float* columns, size_t tokens);

  const graph::Model& model_;
  ThreadPool& pool_;
  uint32_t width_;
  MomentCollector features_, gradients_;
  std::vector<double> mass_;  // Σ p(1 − p), [row]
  uint64_t tokens_ = 0;
};

}  // namespace cairn::stack
