#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "offload/timeline.hpp"

namespace cairn::offload {

struct Task {
  uint32_t chunk, layer;
  TaskKind kind;
  Processor processor;
  double seconds;  // expected
};

// The subgraphs of all chunks with their dependencies (llm.npu, ASPLOS '25, Eq. 2 and 3). Acyclic.
class TaskGraph {
 public:
  uint32_t add(const Task& task);  // its number, counted from 0. Error: seconds negative or not finite
  void depend(uint32_t task, uint32_t predecessor);  // Error invalid_argument: not added yet
  void finish();                                     // Error invalid_argument: a cycle

  const std::vector<Task>& tasks() const { return tasks_; }
  std::span<const uint32_t> predecessors(uint32_t task) const;
  std::span<const uint32_t> successors(uint32_t task) const;

 private:
  std::vector<Task> tasks_;
  std::vector<std::vector<uint32_t>> predecessors_, successors_;
};

// Expected seconds of one chunk's task: what a profile, a calibration or a simulated device says.
struct TaskSeconds {
  virtual ~TaskSeconds() = default;
  virtual double seconds(uint32_t chunk, uint32_t layer, TaskKind kind) const = 0;
};

struct TaskGraphShape {
  uint32_t chunks = 0, layers = 0;
  // For each layer, which inputs (quantize::Input's order) have shadow work; empty: none has.
  std::vector<std::array<bool, 4>> shadow{};
  // Real runs: where gate, up or down have shadow work, the feed-forward part is cut in three, ffn (gate and
  // up), ffn_middle (the activation, on the CPU, after shadow_gate_up) and ffn_down.
  bool cpu_middle = false;
  bool cut = false;      // with cpu_middle: in every layer, whether it has shadow work or not
  bool prepare = false;  // each chunk waits for graphs of its own that the CPU builds first (no sharing)
};

// Whether a layer's feed-forward part is cut before its last product: shadow work of gate and up must be in
// before the activation, that of down runs beside the last product alone.
bool cuts_feed_forward(const std::array<bool, 4>& shadow);

// The tasks of chunk 0, then of chunk 1, …; a chunk's in an order in which they can run. Error
// invalid_argument: no chunks or layers, shadow of another number of layers, a time that is no time.
TaskGraph make_task_graph(const TaskGraphShape& shape, const TaskSeconds& times);

// Which ready task a processor runs next. Used by the simulation and by real runs alike, so that both decide
// alike. Not thread-safe: a run calls it under its lock.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual std::string_view name() const = 0;
  virtual void start(const TaskGraph& graph) = 0;  // nothing has run; tasks without predecessors are ready
  virtual void finished(uint32_t task) = 0;        // its successors may become ready
  // The task that the idle processor starts now; −1: none. A task is handed out once.
  virtual int64_t next(Processor processor) = 0;
};

enum class Policy : uint8_t { in_order, pairs, overlap, out_of_order, look_ahead };
const char* name(Policy policy);             // "in-order", "pairs", "overlap", "out-of-order", "look-ahead"
Policy parse_policy(std::string_view name);  // Error invalid_argument lists the names
std::unique_ptr<Scheduler> make_scheduler(Policy policy);

struct SimulatedRun {
  Timeline timeline;
  uint64_t decisions = 0;
  double decision_seconds = 0;  // real time spent in the scheduler, start() included
};
// Runs the graph on a virtual clock, each task taking its expected time. Deterministic but decision_seconds.
SimulatedRun simulate(const TaskGraph& graph, Scheduler& scheduler);

}  // namespace cairn::offload
