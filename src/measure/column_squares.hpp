#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "graph/graph.hpp"

namespace cairn::measure {

// Sums of squares of what a model's products read, column by column, from what an engine's observer is told
// (engine::InputObserver). Products that read the same share them.
class ColumnSquares {
 public:
  // model, pool: outlive it.
  ColumnSquares(const graph::Model& model, ThreadPool& pool);

  void add(uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t width);
  // Means over so many tokens, by the matrix's name: [columns], of a product for each head [heads][columns].
  // Error numeric names the model's file, the layer and the activations where one is no number.
  std::map<std::string, std::vector<float>, std::less<>> means(const std::string& path,
                                                               uint64_t tokens) const;

 private:
  // What products read between two writes of a slot.
  struct Reading {
    graph::Slot slot;
    size_t width;  // of the slot's features the first so many
    std::vector<const graph::Op*> ops;
    std::vector<double> sums;
  };
  static std::vector<Reading> readings(const graph::Model& model, const graph::Layer& layer);

  ThreadPool& pool_;
  std::vector<std::vector<Reading>> layers_;
  uint32_t layer_ = UINT32_MAX;  // that was told of last, and which of its readings
  size_t last_ = 0;
};

}  // namespace cairn::measure
