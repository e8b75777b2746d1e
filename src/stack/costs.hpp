#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "stack/sources.hpp"
#include "stack/token_weights.hpp"
#include "stack/vocabulary.hpp"
#include "text/tokenizer.hpp"

namespace cairn::stack {

// What errors cost: importance of every row of every source (Importance, VocabularyCost), then the moments
// of the vocabulary's sources, one after the other. Measured on some windows, by shares of them if wanted;
// token frequencies are those of all. Sources as linear_sources and vocabulary_sources give them, in this
// order.
class CostSums {
 public:
  CostSums(const gguf::File& file, const graph::Model& model, std::span<const Source> sources,
           ThreadPool& pool);

  // Measures windows [first, end) of those that are measured, of which there are `total`.
  void measure(std::span<const std::vector<text::Token>> windows, size_t first, size_t end, size_t total,
               const std::function<void(uint64_t done, uint64_t total)>& progress);
  // Rows of an input of a layer, window by window of those that were measured last: [tokens][width].
  void weigh(uint32_t layer, quantize::Input input, const float* rows, size_t tokens);
  // What was summed, and its like of other windows added. Error format: not of this model's size.
  std::vector<std::byte> sums() const;
  void add_sums(std::span<const std::byte> sums);

  std::vector<float> costs(std::span<const std::vector<text::Token>> windows) const;
  const TokenWeights& tokens() const { return tokens_; }

 private:
  const gguf::File& file_;
  const graph::Model& model_;
  std::span<const Source> sources_;
  ThreadPool& pool_;
  bool vocabulary_too_;
  std::vector<float> rows_;  // of the layers' sources, one after the other
  TokenWeights tokens_;
  // [layer · kInputs + input][token]: Σ (dL/dy)² of the sources that read the input, not weighed yet.
  std::vector<std::vector<float>> token_costs_{};
  std::vector<size_t> weighed_{};
  VocabularyCollector vocabulary_;
};

}  // namespace cairn::stack
