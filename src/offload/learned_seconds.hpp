#pragma once

#include <array>

#include "graph/graph.hpp"
#include "offload/tasks.hpp"

namespace cairn::offload {

// Expected times where nobody measured any beforehand: a guess by the number of operations, replaced by the
// means of what the runs before took. Attention grows with the chunk's index: a + b · index by least squares.
class LearnedSeconds final : public TaskSeconds {
 public:
  LearnedSeconds(const graph::HyperParameters& parameters, uint32_t chunk);
  double seconds(uint32_t chunk, uint32_t layer, TaskKind kind) const override;
  void learn(const Timeline& timeline);

 private:
  struct Line {
    double a = 0, b = 0;
  };
  std::array<Line, static_cast<size_t>(TaskKind::count)> lines_{};
};

}  // namespace cairn::offload
