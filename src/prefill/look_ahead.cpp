// Our own policy. The paper's scheduling problem is NP-hard, but expected times are known when a prompt
// begins and running a whole graph on a virtual clock takes some 60 ns a task: so at start() a portfolio of
// rules is tried, the best order is improved by local search within a bounded number of steps, and then
// followed. Following means: a processor runs the earliest task, in that order, of those that are ready or
// wait for running tasks alone; in the latter case it stands idle until then, which no greedy rule does and
// which often pays (a long attention begun a moment too early keeps the next input of the NPU waiting). With
// the expected times following repeats the best trial exactly, hence is never worse than max-C, which is
// among them; with other times a processor with something to do waits for a running task at most.
#include <algorithm>
#include <limits>
#include <numeric>

#include "prefill/policies.hpp"

namespace cairn::prefill {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Runs tasks in the order of their keys, smallest first.
class ByKey {
 public:
  void start(const FlatGraph& graph, const std::vector<double>& keys, bool waits) {
    graph_ = &graph;
    keys_ = &keys;
    waits_ = waits;
    for (auto& heap : heaps_) heap.clear();
    waiting_.start(graph);
    if (waits) not_started_ = graph.predecessors;
    waiting_.first([this](uint32_t task) { push(task); });
  }
  void finished(uint32_t task) {
    waiting_.finished(task, [this](uint32_t successor) {
      if (!waits_) push(successor);
    });
  }
  int64_t next(Processor processor) {
    auto& heap = heaps_[static_cast<size_t>(processor)];
    if (heap.empty()) return -1;
    const uint32_t task = heap.front().second;
    if (waiting_[task] > 0) return -1;  // what comes first begins soon
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    if (waits_)
      for (uint32_t successor : graph_->successors_of(task))
        if (--not_started_[successor] == 0) push(successor);
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
  bool waits_ = false;
  Waiting waiting_;
  std::vector<uint32_t> not_started_;  // predecessors that have not even begun
  // Ready tasks; where it waits, also those whose missing predecessors are all running.
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
  static constexpr uint64_t kStepsOfATask = 16, kSteps = 80'000;
  static constexpr uint32_t kPatience = 64;  // trials in a row that improved nothing: it is a local optimum
  // A plan this close to the lower bound is not worth improving.
  static constexpr double kCloseEnough = 1.0005;
  // Runs are broken off once they are this much worse than the best: equal ones are not.
  static constexpr double kHair = 1 + 1e-12;

  // Tasks far from the end first, but each chunk `lag` steps behind the one before, so that one is on the CPU
  // while another is on the NPU, and each kind of task `bias` steps later. A step: a layer's share of one
  // chunk.
  struct Rule {
    bool waits;
    double lag;
    std::array<double, static_cast<size_t>(TaskKind::count)> bias;
  };

  void measure_paths();
  double lower_bound() const;
  void try_portfolio(const TaskGraph& graph);
  void improve(const TaskGraph& graph);
  void try_rule(const TaskGraph& graph, const Rule& rule);
  bool good_enough() const { return room_ <= 0 || in_vain_ >= kPatience || best_ <= bound_ * kCloseEnough; }
  // These return the makespan, infinity where it exceeds the limit, and keep the best order.
  template <class Decider>
  double try_run(Decider& decider, double limit);
  double try_keys(bool waits, double limit);

  FlatGraph graph_;
  std::vector<uint32_t> topological_;
  std::vector<double> before_, after_;  // longest paths up to a task and from its end
  std::vector<double> keys_, position_, trial_;
  double best_ = kInfinity, rule_makespan_ = kInfinity, bound_ = 0, step_ = 0;
  Rule rule_{};
  int64_t room_ = 0;
  uint32_t in_vain_ = 0;
  ByKey trying_, following_;
};

void LookAhead::start(const TaskGraph& graph) {
  graph_ = FlatGraph(graph);
  topological_ = graph_.topological_order();
  measure_paths();
  bound_ = lower_bound();
  best_ = rule_makespan_ = kInfinity;
  in_vain_ = 0;
  position_.assign(graph_.size(), 0);
  room_ = static_cast<int64_t>(kStepsOfATask * graph_.size() + kSteps);
  keys_.resize(graph_.size());
  rule_ = {};
  uint32_t layers = 1, chunks = 1;
  for (const Task& task : graph.tasks()) {
    layers = std::max(layers, task.layer + 1);
    chunks = std::max(chunks, task.chunk + 1);
  }
  step_ = bound_ / layers / chunks;
  try_portfolio(graph);
  improve(graph);
  following_.start(graph_, position_, true);
}

void LookAhead::measure_paths() {
  before_.assign(graph_.size(), 0);
  after_.assign(graph_.size(), 0);
  for (uint32_t task : topological_)
    for (uint32_t successor : graph_.successors_of(task))
      before_[successor] = std::max(before_[successor], before_[task] + graph_.seconds[task]);
  for (auto task = topological_.rbegin(); task != topological_.rend(); ++task) {
    for (uint32_t successor : graph_.successors_of(*task))
      after_[*task] = std::max(after_[*task], graph_.seconds[successor] + after_[successor]);
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
double LookAhead::try_run(Decider& decider, double limit) {
  uint32_t rank = 0;
  trial_.resize(graph_.size());
  const double makespan = run_virtually(
      graph_, decider, [&](uint32_t task, double, double) { trial_[task] = rank++; }, limit);
  room_ -= rank;
  ++in_vain_;
  if (makespan <= best_ && makespan < kInfinity) {  // equally good orders lead off plateaus
    if (makespan < best_ * (1 - 1e-6)) in_vain_ = 0;
    best_ = makespan;
    position_.swap(trial_);
  }
  return makespan;
}

double LookAhead::try_keys(bool waits, double limit) {
  trying_.start(graph_, keys_, waits);
  return try_run(trying_, limit);
}

void LookAhead::try_rule(const TaskGraph& graph, const Rule& rule) {
  if (good_enough()) return;
  const auto& tasks = graph.tasks();
  for (uint32_t t = 0; t < graph_.size(); ++t)
    keys_[t] = step_ * (rule.lag * tasks[t].chunk + rule.bias[static_cast<size_t>(tasks[t].kind)]) -
               (graph_.seconds[t] + after_[t]);
  const double makespan = try_keys(rule.waits, rule_makespan_ * kHair);
  if (makespan > rule_makespan_ || makespan == kInfinity) return;
  rule_makespan_ = makespan;
  rule_ = rule;
}

void LookAhead::try_portfolio(const TaskGraph& graph) {
  MaxC max_c;
  max_c.start(graph_);
  try_run(max_c, kInfinity);
  if (good_enough()) return;
  FirstCome first_come;
  first_come.start(graph_);
  try_run(first_come, kInfinity);
  // Lag 0: the longest way to the end first, Hu's rule. 1000: chunk after chunk.
  for (double lag : {0.5, 1.0, 0.0, 0.25, 2.0, 1000.0})
    for (bool waits : {true, false}) try_rule(graph, {waits, lag, {}});
}

// Hill climbing, in turn over rules, which move all layers alike, and over orders, where some tasks move some
// places forwards or backwards.
void LookAhead::improve(const TaskGraph& graph) {
  SplitMix random;
  const uint32_t n = graph_.size();
  for (uint32_t turn = 0; !good_enough(); ++turn) {
    if (turn % 2 == 0) {
      Rule rule = rule_;
      rule.waits ^= random.below(4) == 0;
      rule.lag *= 0.5 + random.unit();
      for (double& bias : rule.bias)
        if (random.below(3) == 0) bias += random.unit() - 0.5;
      try_rule(graph, rule);
      continue;
    }
    keys_ = position_;
    const double reach = 1 + random.unit() * random.unit() * std::min(n, 64u);
    const uint32_t moves = 1 + random.below(1 + std::min(n / 4, 1u << random.below(8)));
    for (uint32_t i = 0; i < moves; ++i) keys_[random.below(n)] += reach * (2 * random.unit() - 1);
    try_keys(true, best_ * kHair);
  }
}

}  // namespace

std::unique_ptr<Scheduler> make_look_ahead() {
  return std::make_unique<LookAhead>();
}

}  // namespace cairn::prefill
