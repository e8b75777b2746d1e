#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "offload/tasks.hpp"

namespace cairn::offload {

constexpr size_t kProcessors = static_cast<size_t>(Processor::count);

// A task graph as a scheduler reads it thousands of times: arrays, one element a task.
struct FlatGraph {
  std::vector<uint8_t> processor;
  std::vector<double> seconds;
  std::vector<uint32_t> predecessors;  // how many
  std::vector<uint32_t> begin;         // successors[begin[t], begin[t + 1]) are t's; one more than tasks
  std::vector<uint32_t> successors;

  FlatGraph() = default;
  explicit FlatGraph(const TaskGraph& graph);
  uint32_t size() const { return static_cast<uint32_t>(seconds.size()); }
  std::span<const uint32_t> successors_of(uint32_t task) const {
    return {successors.data() + begin[task], begin[task + 1] - begin[task]};
  }
  // An order in which the tasks can run; of several, the one with the smallest number goes first.
  std::vector<uint32_t> topological_order() const;
};

// How many predecessors each task still waits for, while a graph runs.
class Waiting {
 public:
  void start(const FlatGraph& graph) { graph_ = &graph, left_ = graph.predecessors; }
  // Calls ready(t) for every task without predecessors.
  template <class Ready>
  void first(Ready&& ready) const {
    for (uint32_t task = 0; task < graph_->size(); ++task)
      if (left_[task] == 0) ready(task);
  }
  // Calls ready(t) for every task that waited for `task` alone.
  template <class Ready>
  void finished(uint32_t task, Ready&& ready) {
    for (uint32_t successor : graph_->successors_of(task))
      if (--left_[successor] == 0) ready(successor);
  }
  uint32_t operator[](uint32_t task) const { return left_[task]; }

 private:
  const FlatGraph* graph_ = nullptr;
  std::vector<uint32_t> left_;
};

// Runs a graph on a virtual clock, each task taking its expected time: simulate() and every plan that a
// scheduler tries go through this one loop, so that a plan comes true to the last bit. `decider` has next()
// and finished() as a Scheduler does; run(task, begin, end) hears of every run. Returns the makespan, or
// infinity once it can no longer be below `limit`. Error invalid_argument: the decider left tasks out.
template <class Decider, class Run>
double run_virtually(const FlatGraph& graph, Decider& decider, Run&& run,
                     double limit = std::numeric_limits<double>::infinity()) {
  std::array<int64_t, kProcessors> running;
  std::array<double, kProcessors> end;
  running.fill(-1);
  end.fill(std::numeric_limits<double>::infinity());
  double time = 0;
  for (uint32_t left = graph.size();;) {
    for (size_t p = 0; p < kProcessors; ++p) {
      if (running[p] >= 0) continue;
      running[p] = decider.next(static_cast<Processor>(p));
      if (running[p] < 0) continue;
      end[p] = time + graph.seconds[static_cast<size_t>(running[p])];
      run(static_cast<uint32_t>(running[p]), time, end[p]);
    }
    double next = std::numeric_limits<double>::infinity();
    for (double e : end) next = e < next ? e : next;
    if (next == std::numeric_limits<double>::infinity()) {
      if (left > 0)
        fail(ErrorCode::invalid_argument, "schedule: {} of {} tasks were never handed out", left,
             graph.size());
      return time;
    }
    time = next;
    if (time >= limit) return std::numeric_limits<double>::infinity();
    for (size_t p = 0; p < kProcessors; ++p) {
      if (running[p] < 0 || end[p] != time) continue;
      decider.finished(static_cast<uint32_t>(running[p]));
      running[p] = -1;
      end[p] = std::numeric_limits<double>::infinity();
      --left;
    }
  }
}

}  // namespace cairn::offload
