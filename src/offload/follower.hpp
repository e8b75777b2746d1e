#pragma once

#include "offload/flat_graph.hpp"

namespace cairn::offload {

// A schedule: an order in which every task comes after its predecessors, and the times that follow when each
// begins as soon as these and the task before it on its processor have ended.
struct Plan {
  std::vector<uint32_t> order;
  std::vector<double> end;  // by task
};

// Carries a plan out. A processor runs its tasks in the plan's order and waits for the next one even where
// another is ready, as long as the other processor is no further behind than the plan has it; once it is, or
// nothing runs at all, the earliest ready task goes first. So expected times give the plan itself, and others
// never stall it.
class Follower {
 public:
  void start(const FlatGraph& graph, const Plan& plan);
  void finished(uint32_t task);
  int64_t next(Processor processor);

 private:
  struct Queue {
    std::vector<uint32_t> tasks;  // in the plan's order
    size_t at = 0;                // the first that has not begun
    std::vector<uint32_t> ready;  // heap of places in `tasks`, earliest first; may hold begun ones
    int64_t running = -1;         // task
  };

  void push(uint32_t task);
  int64_t begin(size_t p, uint32_t task);
  bool on_time(size_t p) const;
  void skip_begun(Queue& queue) const;

  const FlatGraph* graph_ = nullptr;
  std::vector<double> end_;
  std::vector<uint32_t> place_;  // of a task in its queue
  std::vector<bool> begun_;
  Waiting waiting_;
  std::array<Queue, kProcessors> queues_;
};

}  // namespace cairn::offload
