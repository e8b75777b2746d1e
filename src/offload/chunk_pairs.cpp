// How the code that was published with llm.npu overlaps: chunks two by two in lock step, the second so many
// subgraphs behind the first, and nobody begins the next step before both have done theirs.
#include <algorithm>

#include "offload/policies.hpp"

namespace cairn::offload {
namespace {

constexpr uint32_t kBehind = 5;  // subgraphs; any odd number pairs a product with float work

bool is_shadow(TaskKind kind) {
  return kind >= TaskKind::shadow_qkv && kind <= TaskKind::shadow_down;
}

// The step that each task belongs to. Shadow work shares its product's; a task never comes before what it
// waits for, so that any acyclic graph runs through.
std::vector<uint32_t> steps_of(const TaskGraph& graph, const FlatGraph& flat) {
  const std::vector<Task>& tasks = graph.tasks();
  uint32_t chunks = 0;
  for (const Task& task : tasks) chunks = std::max(chunks, task.chunk + 1);
  const std::vector<uint32_t> order = flat.topological_order();
  std::vector<uint32_t> stages(chunks), stage(tasks.size());
  for (uint32_t task : order) {
    uint32_t& seen = stages[tasks[task].chunk];
    if (seen == 0 || !is_shadow(tasks[task].kind)) ++seen;
    stage[task] = seen - 1;
  }
  std::vector<uint32_t> begin(chunks);
  for (uint32_t chunk = 0, next = 0; chunk < chunks; ++chunk) {
    begin[chunk] = next + (chunk % 2 ? kBehind : 0);
    if (chunk % 2 || chunk + 1 == chunks)
      next = std::max(next + stages[chunk - chunk % 2], begin[chunk] + stages[chunk]);
  }
  std::vector<uint32_t> step(tasks.size());
  for (uint32_t task : order) {
    step[task] = begin[tasks[task].chunk] + stage[task];
    for (uint32_t before : graph.predecessors(task)) step[task] = std::max(step[task], step[before]);
  }
  return step;
}

class ChunkPairs final : public Scheduler {
 public:
  std::string_view name() const override { return offload::name(Policy::pairs); }

  void start(const TaskGraph& graph) override {
    flat_ = FlatGraph(graph);
    step_ = steps_of(graph, flat_);
    const uint32_t steps = step_.empty() ? 0 : *std::max_element(step_.begin(), step_.end()) + 1;
    left_.assign(steps, 0);
    held_.assign(steps, {});
    for (auto& queue : queues_) queue.clear();
    served_.fill(0);
    now_ = 0;
    for (uint32_t step : step_) ++left_[step];
    waiting_.start(flat_);
    waiting_.first([this](uint32_t task) { ready(task); });
    advance();
  }

  void finished(uint32_t task) override {
    --left_[step_[task]];
    waiting_.finished(task, [this](uint32_t successor) { ready(successor); });
    advance();
  }

  int64_t next(Processor processor) override {
    const auto p = static_cast<size_t>(processor);
    return served_[p] < queues_[p].size() ? int64_t{queues_[p][served_[p]++]} : -1;
  }

 private:
  void ready(uint32_t task) {
    if (step_[task] == now_)
      queues_[flat_.processor[task]].push_back(task);
    else
      held_[step_[task]].push_back(task);
  }

  void advance() {
    while (now_ < left_.size() && left_[now_] == 0) {
      if (++now_ == left_.size()) return;
      for (uint32_t task : held_[now_]) queues_[flat_.processor[task]].push_back(task);
    }
  }

  FlatGraph flat_;
  Waiting waiting_;
  std::vector<uint32_t> step_, left_;        // a task's step; tasks of a step that are not done
  std::vector<std::vector<uint32_t>> held_;  // of a later step, ready before it
  std::array<std::vector<uint32_t>, kProcessors> queues_;
  std::array<size_t, kProcessors> served_{};
  uint32_t now_ = 0;
};

}  // namespace

std::unique_ptr<Scheduler> make_chunk_pairs() {
  return std::make_unique<ChunkPairs>();
}

}  // namespace cairn::offload
