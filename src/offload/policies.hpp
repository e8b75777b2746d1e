// The decisions of the published policies on flat graphs: the schedulers are made of these, and look-ahead
// tries them beforehand.
#pragma once

#include "offload/flat_graph.hpp"

namespace cairn::offload {

// First come, first served on each processor.
class FirstCome {
 public:
  void start(const FlatGraph& graph);
  void finished(uint32_t task);
  int64_t next(Processor processor);

 private:
  void ready(uint32_t task) { queues_[graph_->processor[task]].push_back(task); }

  const FlatGraph* graph_ = nullptr;
  Waiting waiting_;
  std::array<std::vector<uint32_t>, kProcessors> queues_;
  std::array<size_t, kProcessors> served_{};
};

// llm.npu, Eq. 5: of the ready tasks the one with the largest C, the expected time of the other processor's
// tasks that become ready by it, counted positive for the CPU's tasks (work for the NPU is good) and negative
// for the NPU's. The paper breaks no ties; here the earliest in chunk order goes first.
class MaxC {
 public:
  void start(const FlatGraph& graph);
  void finished(uint32_t task);
  int64_t next(Processor processor);
  double c(uint32_t task) const;  // of a ready or running task

 private:
  const FlatGraph* graph_ = nullptr;
  Waiting waiting_;
  std::array<std::vector<uint32_t>, kProcessors> ready_;
};

std::unique_ptr<Scheduler> make_chunk_pairs();
std::unique_ptr<Scheduler> make_look_ahead();

}  // namespace cairn::offload
