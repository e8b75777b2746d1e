#include "offload/two_workers.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/clock.hpp"

namespace cairn::offload {
namespace {

class Workers {
 public:
  Workers(const TaskGraph& graph, Scheduler& scheduler, const std::function<void(const Task&)>& body)
      : graph_(graph), scheduler_(scheduler), body_(body), remaining_(graph.tasks().size()) {
    scheduler_.start(graph);
  }

  // Works for `processor` (both when `other` too) until nothing is left.
  void work(Processor processor, bool both) {
    std::unique_lock lock(mutex_);
    while (remaining_ > 0 && !failure_) {
      int64_t number = scheduler_.next(processor);
      if (number < 0 && both)
        number = scheduler_.next(processor == Processor::cpu ? Processor::npu : Processor::cpu);
      if (number < 0) {
        changed_.wait(lock);
        continue;
      }
      const Task& task = graph_.tasks()[static_cast<size_t>(number)];
      lock.unlock();
      const double begin = clock_.seconds();
      std::exception_ptr failure;
      try {
        body_(task);
      } catch (...) {
        failure = std::current_exception();
      }
      const double end = clock_.seconds();
      lock.lock();
      if (failure && !failure_) failure_ = failure;
      events_.push_back({task.chunk, task.layer, task.kind, task.processor, begin, end});
      scheduler_.finished(static_cast<uint32_t>(number));
      --remaining_;
      changed_.notify_all();
    }
  }

  std::vector<Event> result() {
    if (failure_) std::rethrow_exception(failure_);
    return std::move(events_);
  }

 private:
  const TaskGraph& graph_;
  Scheduler& scheduler_;
  const std::function<void(const Task&)>& body_;
  const Stopwatch clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t remaining_;
  std::exception_ptr failure_;
  std::vector<Event> events_;
};

}  // namespace

std::vector<Event> run_tasks(const TaskGraph& graph, Scheduler& scheduler, bool concurrent,
                             const std::function<void(const Task&)>& body) {
  Workers workers(graph, scheduler, body);
  std::thread device;
  if (concurrent) {
    try {
      device = std::thread([&] { workers.work(Processor::npu, false); });
    } catch (const std::system_error&) {
      // The system has no thread left: one after the other.
    }
  }
  workers.work(Processor::cpu, !device.joinable());
  if (device.joinable()) device.join();
  return workers.result();
}

void RowResults::run(AcceleratorGraph& graph, uint32_t tokens, ChunkRun& chunk, const Product& product,
                     const kernels::StaticKernels& kernels) {
  const size_t padded = std::max<size_t>(tokens, chunk.executor().tiles() * kernels.tile_tokens);
  outputs_.resize(std::max(outputs_.size(), product.linears.size()));
  std::vector<float*> outputs;
  for (size_t i = 0; i < product.linears.size(); ++i) {
    outputs_[i].resize(std::max(outputs_[i].size(), padded * product.linears[i].rows()));
    outputs.push_back(outputs_[i].data());
  }
  graph.run(chunk.values(), outputs);
}

void RowResults::take(ChunkRun& chunk, const Product& product, const kernels::StaticKernels& kernels,
                      size_t index) const {
  const size_t lanes = kernels.tile_tokens;
  for (size_t i = 0; i < product.linears.size(); ++i) {
    const size_t rows = product.linears[i].rows();
    kernels.transpose(
        reinterpret_cast<const uint32_t*>(outputs_[i].data() + index * lanes * rows), rows, lanes, rows,
        reinterpret_cast<uint32_t*>(chunk.executor().tile(product.linears[i].output(), index)), lanes, 0);
  }
}

}  // namespace cairn::offload
