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

// A device's [tokens][rows] results, and the way from there to tiles.
class RowResults {
 public:
  void run(AcceleratorGraph& graph, uint32_t tokens, ChunkRun& chunk, const Product& product,
           const kernels::StaticKernels& kernels);
  // After it: a tile of them to where the product's outputs are.
  void take(ChunkRun& chunk, const Product& product, const kernels::StaticKernels& kernels,
            size_t index) const;

 private:
  std::vector<std::vector<float>> outputs_;
};

}  // namespace cairn::offload
