// Our own policy. The paper's scheduling problem is NP-hard, but expected times are known when a prompt
// begins and running a whole graph on a virtual clock takes some 50 ns a task: so at start() a portfolio of
// rules is tried, the best order is improved by local search within a bounded number of steps, and then
// followed. Following means: of the ready tasks the earliest of that order. With the expected times this
// repeats the best trial exactly, hence is never worse than max-C, which is among them; with other times no
// processor ever idles while a task of its own is ready.
#include <algorithm>
#include <limits>
#include <numeric>

#include "prefill/policies.hpp"

namespace cairn::prefill {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Runs ready tasks in the order of their keys, smallest first.
class ByKey {
 public:
  void start(const FlatGraph& graph, const std::vector<double>& keys) {
    graph_ = &graph;
    keys_ = &keys;
    for (auto& heap : heaps_) heap.clear();
    waiting_.start(graph);
    waiting_.first([this](uint32_t task) { push(task); });
  }
  void finished(uint32_t task) {
    waiting_.finished(task, [this](uint32_t successor) { push(successor); });
  }
  int64_t next(Processor processor) {
    auto& heap = heaps_[static_cast<size_t>(processor)];
    if (heap.empty()) return -1;
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint32_t task = heap.back().second;
    heap.pop_back();
    return task;
  }

 private:
  void push(uint32_t task) {
    auto& heap = heaps_[graph_->processor[task]];
    heap.emplace_back((*keys_)[task], task);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  }

  const FlatGraph* graph_ = nullptr;
  const std::vector<double>* keys_ = nullptr;
  Waiting waiting_;
  std::array<std::vector<std::pair<double, uint32_t>>, kProcessors> heaps_;
};

// Steele, Lea, Flood (OOPSLA '14): the same numbers on every machine, so that plans are repeatable.
class SplitMix {
 public:
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>((next() >> 32) * bound >> 32); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_ = 0;
};

class LookAhead final : public Scheduler {
 public:
  std::string_view name() const override { return prefill::name(Policy::look_ahead); }
  void start(const TaskGraph& graph) override;
  void finished(uint32_t task) override { following_.finished(task); }
  int64_t next(Processor processor) override { return following_.next(processor); }

 private:
  // Room for trials, in tasks run on the virtual clock: a few microseconds a task of a long prompt, and no
  // less than a millisecond for a short one, whose orders matter more.
  static constexpr uint64_t kStepsOfATask = 16, kSteps = 20'000;
  // A plan this close to the lower bound is not worth improving.
  static constexpr double kCloseEnough = 1.0005;

  void measure_paths();
  double lower_bound() const;
  void try_portfolio(const TaskGraph& graph);
  void improve();
  template <class Decider>
  bool try_run(Decider& decider);  // keeps the order when it is no worse than the best so far
  bool try_keys();                 // likewise, those of keys_

  FlatGraph graph_;
  std::vector<uint32_t> topological_;
  std::vector<double> before_, after_;  // longest paths up to a task and from its end
  std::vector<double> npu_after_;       // of the NPU's time alone, the task's own included
  std::vector<double> keys_, position_, trial_;
  double best_ = kInfinity, bound_ = 0;
  int64_t room_ = 0;
  ByKey trying_, following_;
};

void LookAhead::start(const TaskGraph& graph) {
  graph_ = FlatGraph(graph);
  topological_ = graph_.topological_order();
  measure_paths();
  bound_ = lower_bound();
  best_ = kInfinity;
  position_.assign(graph_.size(), 0);
  room_ = static_cast<int64_t>(kStepsOfATask * graph_.size() + kSteps);
  try_portfolio(graph);
  improve();
  following_.start(graph_, position_);
}

void LookAhead::measure_paths() {
  before_.assign(graph_.size(), 0);
  after_.assign(graph_.size(), 0);
  npu_after_.assign(graph_.size(), 0);
  for (uint32_t task : topological_)
    for (uint32_t successor : graph_.successors_of(task))
      before_[successor] = std::max(before_[successor], before_[task] + graph_.seconds[task]);
  for (auto task = topological_.rbegin(); task != topological_.rend(); ++task) {
    for (uint32_t successor : graph_.successors_of(*task)) {
      after_[*task] = std::max(after_[*task], graph_.seconds[successor] + after_[successor]);
      npu_after_[*task] = std::max(npu_after_[*task], npu_after_[successor]);
    }
    if (graph_.processor[*task] == static_cast<uint8_t>(Processor::npu))
      npu_after_[*task] += graph_.seconds[*task];
  }
}

// No schedule is shorter than the longest path, nor than a processor's work with the shortest way to its
// first task and from its last.
double LookAhead::lower_bound() const {
  double bound = 0;
  std::array<double, kProcessors> work{}, head, tail;
  head.fill(kInfinity);
  tail.fill(kInfinity);
  for (uint32_t task = 0; task < graph_.size(); ++task) {
    const size_t p = graph_.processor[task];
    work[p] += graph_.seconds[task];
    head[p] = std::min(head[p], before_[task]);
    tail[p] = std::min(tail[p], after_[task]);
    bound = std::max(bound, before_[task] + graph_.seconds[task] + after_[task]);
  }
  for (size_t p = 0; p < kProcessors; ++p)
    if (work[p] > 0) bound = std::max(bound, head[p] + work[p] + tail[p]);
  return bound;
}

template <class Decider>
bool LookAhead::try_run(Decider& decider) {
  uint32_t rank = 0;
  trial_.resize(graph_.size());
  // A hair above the best, so that equally good orders are taken too: they lead off plateaus.
  const double makespan = run_virtually(
      graph_, decider, [&](uint32_t task, double, double) { trial_[task] = rank++; }, best_ * (1 + 1e-12));
  room_ -= rank;
  if (makespan > best_) return false;
  best_ = makespan;
  position_.swap(trial_);
  return true;
}

bool LookAhead::try_keys() {
  trying_.start(graph_, keys_);
  return try_run(trying_);
}

void LookAhead::try_portfolio(const TaskGraph& graph) {
  const uint32_t n = graph_.size();
  const auto done = [this] { return best_ <= bound_ * kCloseEnough; };
  MaxC max_c;
  max_c.start(graph_);
  try_run(max_c);
  if (done()) return;
  FirstCome first_come;
  first_come.start(graph_);
  try_run(first_come);
  keys_.resize(n);
  const auto try_rule = [&](auto&& key) {
    if (done() || room_ <= 0) return;
    for (uint32_t task = 0; task < n; ++task) keys_[task] = key(task);
    try_keys();
  };
  // The longest way to the end first: Hu's rule; of the NPU's time alone, since it is the bottleneck.
  try_rule([&](uint32_t t) { return -(graph_.seconds[t] + after_[t]); });
  try_rule([&](uint32_t t) { return -npu_after_[t]; });
  // Chunk after chunk: later ones fill the gaps of earlier ones.
  try_rule([&](uint32_t t) { return static_cast<double>(t); });
  // The longest way, but each chunk some way behind the one before, so that one is on the CPU while another
  // is on the NPU.
  const auto& tasks = graph.tasks();
  uint32_t layers = 1, chunks = 1;
  for (const Task& task : tasks) {
    layers = std::max(layers, task.layer + 1);
    chunks = std::max(chunks, task.chunk + 1);
  }
  const double layer = bound_ / layers / chunks;
  for (double lag : {0.5, 1.0, 2.0})
    try_rule([&](uint32_t t) { return tasks[t].chunk * lag * layer - graph_.seconds[t] - after_[t]; });
}

// Hill climbing over orders: some tasks move some places forwards or backwards.
void LookAhead::improve() {
  SplitMix random;
  const uint32_t n = graph_.size();
  while (room_ > 0 && best_ > bound_ * kCloseEnough) {
    keys_ = position_;
    const double reach = 1 + random.unit() * random.unit() * std::min(n, 64u);
    const uint32_t moves = 1 + random.below(1 + std::min(n / 4, 1u << random.below(8)));
    for (uint32_t i = 0; i < moves; ++i) keys_[random.below(n)] += reach * (2 * random.unit() - 1);
    try_keys();
  }
}

}  // namespace

std::unique_ptr<Scheduler> make_look_ahead() {
  return std::make_unique<LookAhead>();
}

}  // namespace cairn::prefill
