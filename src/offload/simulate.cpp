#include "base/clock.hpp"
#include "offload/flat_graph.hpp"
#include "offload/tasks.hpp"

namespace cairn::offload {
namespace {

// Passes decisions through and takes their time.
class Timed {
 public:
  Timed(Scheduler& scheduler, SimulatedRun& run) : scheduler_(scheduler), run_(run) {}
  int64_t next(Processor processor) {
    const Stopwatch watch;
    const int64_t task = scheduler_.next(processor);
    run_.decision_seconds += watch.seconds();
    if (task >= 0) ++run_.decisions;
    return task;
  }
  void finished(uint32_t task) {
    const Stopwatch watch;
    scheduler_.finished(task);
    run_.decision_seconds += watch.seconds();
  }

 private:
  Scheduler& scheduler_;
  SimulatedRun& run_;
};

}  // namespace

SimulatedRun simulate(const TaskGraph& graph, Scheduler& scheduler) {
  SimulatedRun run;
  run.timeline.npu = name(Processor::npu);
  run.timeline.cpu = name(Processor::cpu);
  run.timeline.title = scheduler.name();
  run.timeline.events.reserve(graph.tasks().size());
  {
    const Stopwatch watch;
    scheduler.start(graph);
    run.decision_seconds = watch.seconds();
  }
  const FlatGraph flat(graph);
  Timed timed(scheduler, run);
  run_virtually(flat, timed, [&](uint32_t number, double begin, double end) {
    const Task& task = graph.tasks()[number];
    run.timeline.events.push_back({task.chunk, task.layer, task.kind, task.processor, begin, end});
  });
  return run;
}

}  // namespace cairn::offload
