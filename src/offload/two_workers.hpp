#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "offload/accelerator.hpp"
#include "offload/chunk_run.hpp"
#include "offload/tasks.hpp"

namespace cairn::offload {

// Runs every task of the graph in the scheduler's order, device tasks on a thread of their own while the
// caller's runs the CPU's; `concurrent` false: one after the other on the caller's. The first exception of
// `body` ends the run (tasks begun are finished) and is thrown again.
std::vector<Event> run_tasks(const TaskGraph& graph, Scheduler& scheduler, bool concurrent,
                             const std::function<void(const Task&)>& body);

// Tiles to [tokens][features] rows and back, for devices that take rows.
class RowTransfer {
 public:
  void run(AcceleratorGraph& graph, uint32_t tokens, ChunkRun& chunk, const Product& product,
           const kernels::StaticKernels& kernels, ThreadPool& pool);

 private:
  std::vector<int8_t> values_;
  std::vector<std::vector<float>> outputs_;
};

}  // namespace cairn::offload
