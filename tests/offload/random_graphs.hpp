#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "offload/tasks.hpp"

namespace cairn::offload::testing {

struct RandomSeconds final : TaskSeconds {
  explicit RandomSeconds(uint32_t which) : seed(which) {}
  // Any task between a thousandth of a second and five, whatever it is: harsher than real ones. Multiples of
  // 1/1024 add up without rounding, so that ties happen and sums are exact.
  double seconds(uint32_t chunk, uint32_t layer, TaskKind kind) const override {
    std::seed_seq sequence{seed, chunk, layer, static_cast<uint32_t>(kind)};
    std::mt19937 random(sequence);
    const uint32_t most = 1u << random() % 13;
    return static_cast<double>(1 + random() % most) / 1024;
  }
  uint32_t seed;
};

// Times as a device has them: the same for a kind in all layers, attention growing with its chunk's number.
struct RegularSeconds final : TaskSeconds {
  explicit RegularSeconds(uint32_t seed) {
    std::mt19937 random(seed);
    for (double& s : of_kind) s = static_cast<double>(16 + random() % 512) / 1024;
  }
  double seconds(uint32_t chunk, uint32_t, TaskKind kind) const override {
    return of_kind[static_cast<size_t>(kind)] * (kind == TaskKind::attention ? 1 + chunk : 1);
  }
  std::array<double, static_cast<size_t>(TaskKind::count)> of_kind{};
};

inline TaskGraphShape random_shape(std::mt19937& random, uint32_t most_chunks, uint32_t most_layers) {
  TaskGraphShape shape{.chunks = 1 + static_cast<uint32_t>(random() % most_chunks),
                       .layers = 1 + static_cast<uint32_t>(random() % most_layers)};
  const uint32_t one_in = 1 + static_cast<uint32_t>(random() % 6);
  if (random() % 3) {
    shape.shadow.assign(shape.layers, {});
    for (auto& layer : shape.shadow)
      for (bool& input : layer) input = random() % one_in == 0;
  }
  shape.cpu_middle = random() % 2;
  shape.prepare = random() % 4 == 0;
  return shape;
}

// Any acyclic graph on two processors, also such as no model has.
inline TaskGraph random_graph(std::mt19937& random, uint32_t most_tasks) {
  TaskGraph graph;
  const uint32_t tasks = 1 + static_cast<uint32_t>(random() % most_tasks);
  const uint32_t one_in = 1 + static_cast<uint32_t>(random() % 6);
  for (uint32_t task = 0; task < tasks; ++task) {
    graph.add({task, 0, TaskKind::ffn, random() % 2 ? Processor::npu : Processor::cpu,
               static_cast<double>(random() % 64) / 1024});
    for (uint32_t earlier = 0; earlier < task; ++earlier)
      if (random() % one_in == 0) graph.depend(task, earlier);
  }
  graph.finish();
  return graph;
}

// The shortest makespan there is, by trying every order in which the tasks can be begun, each as early as its
// predecessors and its processor allow; branches that cannot beat the best are cut.
class Optimum {
 public:
  explicit Optimum(const TaskGraph& graph)
      : graph_(graph), end_(graph.tasks().size(), -1), after_(graph.tasks().size()) {
    for (size_t pass = 0; pass < end_.size(); ++pass)  // longest ways to the end, by plain relaxation
      for (uint32_t task = 0; task < end_.size(); ++task)
        for (uint32_t next : graph.successors(task))
          after_[task] = std::max(after_[task], graph.tasks()[next].seconds + after_[next]);
    for (const Task& task : graph.tasks()) left_[static_cast<size_t>(task.processor)] += task.seconds;
    search(0, 0);
  }
  double makespan() const { return best_; }

 private:
  void search(size_t done, double latest) {
    if (done == end_.size()) {
      best_ = std::min(best_, latest);
      return;
    }
    for (size_t p = 0; p < 2; ++p)
      if (free_[p] + left_[p] >= best_) return;
    for (uint32_t task = 0; task < end_.size(); ++task) {
      if (end_[task] >= 0) continue;
      const Task& t = graph_.tasks()[task];
      const auto p = static_cast<size_t>(t.processor);
      double begin = free_[p];
      bool ready = true;
      for (uint32_t predecessor : graph_.predecessors(task)) {
        ready = ready && end_[predecessor] >= 0;
        begin = std::max(begin, end_[predecessor]);
      }
      if (!ready || begin + t.seconds + after_[task] >= best_) continue;
      const double was_free = free_[p];
      end_[task] = free_[p] = begin + t.seconds;
      left_[p] -= t.seconds;
      search(done + 1, std::max(latest, end_[task]));
      left_[p] += t.seconds;
      end_[task] = -1;
      free_[p] = was_free;
    }
  }

  const TaskGraph& graph_;
  std::vector<double> end_, after_;
  std::array<double, 2> free_{}, left_{};
  double best_ = std::numeric_limits<double>::infinity();
};

}  // namespace cairn::offload::testing
