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

void RowTransfer::run(AcceleratorGraph& graph, uint32_t tokens, ChunkRun& chunk, const Product& product,
                      const kernels::StaticKernels& kernels, ThreadPool& pool) {
  const size_t lanes = kernels.tile_tokens, k = product.linears.front().k();
  const size_t tiles = chunk.executor().tiles();
  values_.resize(std::max<size_t>(tokens, tiles * lanes) * k);
  pool.run(tiles, [&](size_t, size_t index) {
    // u8 to s8 is the top bit of each byte.
    kernels.transpose(reinterpret_cast<const uint32_t*>(chunk.values() + index * k * lanes), lanes, k / 4,
                      lanes, reinterpret_cast<uint32_t*>(values_.data() + index * lanes * k), k / 4,
                      0x80808080u);
  });
  outputs_.resize(std::max(outputs_.size(), product.linears.size()));
  std::vector<float*> outputs;
  for (size_t i = 0; i < product.linears.size(); ++i) {
    outputs_[i].resize(std::max(outputs_[i].size(),
                                size_t{std::max<uint32_t>(tokens, static_cast<uint32_t>(tiles * lanes))} *
                                    product.linears[i].rows()));
    outputs.push_back(outputs_[i].data());
  }
  graph.run(values_.data(), outputs);
  pool.run(tiles, [&](size_t, size_t index) {
    for (size_t i = 0; i < product.linears.size(); ++i) {
      const size_t rows = product.linears[i].rows();
      kernels.transpose(
          reinterpret_cast<const uint32_t*>(outputs[i] + index * lanes * rows), rows, lanes, rows,
          reinterpret_cast<uint32_t*>(chunk.executor().tile(product.linears[i].output(), index)), lanes, 0);
    }
  });
}

}  // namespace cairn::offload
