// Our own policy. The paper's scheduling problem is NP-hard, but expected times are known when a prompt
// begins, and running a whole graph on a virtual clock takes some 20 ns a task. So start() tries a portfolio
// of rules, improves the best schedule by local search within a bounded number of steps, and has it followed.
// Schedules may let a processor wait though it has something to do, which no greedy rule does and which often
// pays: a long attention begun a moment too early keeps the NPU's next input waiting. With the expected times
// following repeats the best schedule exactly, hence is never worse than max-C, which is among those tried.
#include <algorithm>
#include <limits>
#include <numeric>

#include "base/random.hpp"
#include "offload/follower.hpp"
#include "offload/policies.hpp"

namespace cairn::offload {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Runs tasks in the order of their keys, smallest first: of those that are ready, or where it waits, also of
// those that need running tasks alone.
class ByKey {
 public:
  void start(const FlatGraph& graph, const std::vector<double>& keys, std::array<bool, kProcessors> waits) {
    graph_ = &graph;
    keys_ = &keys;
    waits_ = waits;
    for (auto& heap : heaps_) heap.clear();
    waiting_.start(graph);
    not_started_ = graph.predecessors;
    waiting_.first([this](uint32_t task) { push(task); });
  }
  void finished(uint32_t task) {
    waiting_.finished(task, [this](uint32_t successor) {
      if (!waits_[graph_->processor[successor]]) push(successor);
    });
  }
  int64_t next(Processor processor) {
    auto& heap = heaps_[static_cast<size_t>(processor)];
    if (heap.empty()) return -1;
    const uint32_t task = heap.front().second;
    if (waiting_[task] > 0) return -1;  // what comes first begins soon
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    for (uint32_t successor : graph_->successors_of(task))
      if (--not_started_[successor] == 0 && waits_[graph_->processor[successor]]) push(successor);
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
  std::array<bool, kProcessors> waits_{};
  Waiting waiting_;
  std::vector<uint32_t> not_started_;  // predecessors that have not even begun
  std::array<std::vector<std::pair<double, uint32_t>>, kProcessors> heaps_;
};

class LookAhead final : public Scheduler {
 public:
  std::string_view name() const override { return offload::name(Policy::look_ahead); }
  void start(const TaskGraph& graph) override;
  void finished(uint32_t task) override { following_.finished(task); }
  int64_t next(Processor processor) override { return following_.next(processor); }

 private:
  // Room for trials, in tasks run on the virtual clock: about a microsecond's worth for each task of a long
  // prompt, and no less than a millisecond's for a short one.
  static constexpr uint64_t kStepsOfATask = 10, kSteps = 30'000;
  // A schedule this close to the lower bound is not worth improving.
  static constexpr double kCloseEnough = 1.0005;
  // Trials are broken off once they are this much worse than the best: equal ones are not, they lead off
  // plateaus.
  static constexpr double kDeviation = 2;  // tasks' time
  static constexpr double kHair = 1 + 1e-12;

  // Tasks far from the end first, but each chunk `lag` steps behind the one before, so that one is on the CPU
  // while another is on the NPU, and each kind of task `bias` steps later. A step: a layer's share of one
  // chunk.
  // Whether a processor waits for the first of its tasks though another is ready: none, the CPU or both while
  // only running tasks are missing, both as long as it takes.
  enum class Waits : uint8_t { none, cpu, both, both_long };
  struct Rule {
    Waits waits;
    double lag;
    std::array<double, static_cast<size_t>(TaskKind::count)> bias;
  };

  void measure_paths();
  double lower_bound() const;
  bool good_enough() const { return room_ <= 0 || best_ <= bound_ * kCloseEnough; }
  void try_portfolio(const TaskGraph& graph);
  void improve(const TaskGraph& graph);
  void try_rule(const TaskGraph& graph, const Rule& rule);
  void move_some(const TaskGraph& graph, SplitMix64& random);
  // Runs a rule; the makespan, or infinity where it exceeds the limit.
  template <class Decider>
  double try_run(Decider& decider, double limit);
  // Times trial_.order, infinity where it exceeds the limit; kept if it is no worse than the best.
  double try_order(double limit);
  void sort_by_keys();

  FlatGraph graph_;
  std::vector<uint32_t> topological_;
  std::vector<double> before_, after_;  // longest paths up to a task and from its end
  std::vector<double> keys_, begin_;
  std::vector<uint32_t> current_, place_;  // the order that moves start from, a task's place in it
  Plan plan_, trial_;                      // the best and the one being tried
  double best_ = kInfinity, rule_makespan_ = kInfinity, bound_ = 0, step_ = 0;
  Rule rule_{};
  int64_t room_ = 0;
  ByKey trying_;
  Follower following_;
};

void LookAhead::start(const TaskGraph& graph) {
  graph_ = FlatGraph(graph);
  measure_paths();
  bound_ = lower_bound();
  best_ = rule_makespan_ = kInfinity;
  room_ = static_cast<int64_t>(kStepsOfATask * graph_.size() + kSteps);
  rule_ = {};
  keys_.resize(graph_.size());
  begin_.resize(graph_.size());
  place_.resize(graph_.size());
  trial_.end.resize(graph_.size());
  plan_.end.resize(graph_.size());
  uint32_t layers = 1, chunks = 1;
  for (const Task& task : graph.tasks()) {
    layers = std::max(layers, task.layer + 1);
    chunks = std::max(chunks, task.chunk + 1);
  }
  step_ = bound_ / layers / chunks;
  try_portfolio(graph);
  improve(graph);
  following_.start(graph_, plan_);
}

void LookAhead::measure_paths() {
  before_.assign(graph_.size(), 0);
  after_.assign(graph_.size(), 0);
  topological_ = graph_.topological_order();
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

// A virtual run gives an order; timed again, nothing begins later than it did there.
template <class Decider>
double LookAhead::try_run(Decider& decider, double limit) {
  trial_.order.clear();
  const double makespan = run_virtually(
      graph_, decider, [&](uint32_t task, double, double) { trial_.order.push_back(task); }, limit);
  room_ -= static_cast<int64_t>(trial_.order.size());
  if (makespan <= best_ && makespan < kInfinity) try_order(best_ * kHair);
  return makespan;
}

double LookAhead::try_order(double limit) {
  std::array<double, kProcessors> free{};
  std::fill(begin_.begin(), begin_.end(), 0.0);
  double makespan = 0;
  for (uint32_t task : trial_.order) {
    double& until = free[graph_.processor[task]];
    const double end = until = std::max(until, begin_[task]) + graph_.seconds[task];
    if (end + after_[task] > limit) return kInfinity;
    trial_.end[task] = end;
    makespan = std::max(makespan, end);
    for (uint32_t successor : graph_.successors_of(task))
      begin_[successor] = std::max(begin_[successor], end);
  }
  if (makespan > best_) return makespan;
  best_ = makespan;
  plan_ = trial_;
  return makespan;
}

// trial_.order: by keys_, but no task before its predecessors.
void LookAhead::sort_by_keys() {
  trial_.order = topological_;
  for (uint32_t task : topological_)
    for (uint32_t successor : graph_.successors_of(task))
      keys_[successor] = std::max(keys_[successor], keys_[task]);
  std::stable_sort(trial_.order.begin(), trial_.order.end(),
                   [this](uint32_t a, uint32_t b) { return keys_[a] < keys_[b]; });
  room_ -= graph_.size();
}

void LookAhead::try_rule(const TaskGraph& graph, const Rule& rule) {
  if (good_enough()) return;
  const auto& tasks = graph.tasks();
  for (uint32_t t = 0; t < graph_.size(); ++t)
    keys_[t] = step_ * (rule.lag * tasks[t].chunk + rule.bias[static_cast<size_t>(tasks[t].kind)]) -
               (graph_.seconds[t] + after_[t]);
  double makespan;
  if (rule.waits == Waits::both_long) {
    sort_by_keys();
    makespan = try_order(rule_makespan_ * kHair);
  } else {
    trying_.start(graph_, keys_, {rule.waits == Waits::both, rule.waits != Waits::none});
    makespan = try_run(trying_, rule_makespan_ * kHair);
  }
  if (makespan >= rule_makespan_) return;
  rule_makespan_ = makespan;
  rule_ = rule;
}

void LookAhead::try_portfolio(const TaskGraph& graph) {
  MaxC max_c;
  max_c.start(graph_);
  try_run(max_c, kInfinity);
  FirstCome first_come;
  first_come.start(graph_);
  try_run(first_come, kInfinity);
  try_rule(graph, {Waits::none, 0, {}});  // the longest way to the end first: Hu's rule
  // With attention, and what leads to it, put off behind what the NPU waits for, and without.
  for (double late : {0.5, 0.0, 1.0})
    for (double lag : {1.0, 0.5, 4.0})
      for (Waits waits : {Waits::none, Waits::cpu}) {
        Rule rule{waits, lag, {}};
        rule.bias[static_cast<size_t>(TaskKind::attention)] = late;
        rule.bias[static_cast<size_t>(TaskKind::qkv)] = late / 2;
        try_rule(graph, rule);
      }
  try_rule(graph, {Waits::both, 1, {}});
  try_rule(graph, {Waits::both_long, 0.5, {}});
}

// trial_.order: some tasks of current_ elsewhere, as far as their predecessors and successors allow.
void LookAhead::move_some(const TaskGraph& graph, SplitMix64& random) {
  const uint32_t n = graph_.size();
  trial_.order = current_;
  auto& order = trial_.order;
  for (uint32_t place = 0; place < n; ++place) place_[order[place]] = place;
  for (uint32_t moves = 1 + random.below(3); moves > 0; --moves) {
    const uint32_t task = order[random.below(n)];
    int64_t low = -1, high = n;
    for (uint32_t before : graph.predecessors(task)) low = std::max(low, int64_t{place_[before]});
    for (uint32_t after : graph_.successors_of(task)) high = std::min(high, int64_t{place_[after]});
    const int64_t from = place_[task], reach = 1 + random.below(std::min(n, 64u));
    low = std::max(low + 1, from - reach);
    high = std::min(high - 1, from + reach);
    const int64_t to = low + random.below(static_cast<uint32_t>(high - low + 1));
    const auto begin = order.begin();
    if (to < from) {
      std::rotate(begin + to, begin + from, begin + from + 1);
    } else {
      std::rotate(begin + from, begin + from + 1, begin + to + 1);
    }
    for (int64_t place = std::min(from, to); place <= std::max(from, to); ++place)
      place_[order[static_cast<size_t>(place)]] = static_cast<uint32_t>(place);
  }
  room_ -= n / 2;  // simpler steps than those of a virtual run
}

// In turn rules, which move all layers alike, by hill climbing, and orders, by record-to-record travel
// (Dueck, J. Comput. Phys. 104, 1993): an order is gone on from when it is not much worse than the best, a
// few tasks' time at first and nothing in the end.
void LookAhead::improve(const TaskGraph& graph) {
  SplitMix64 random(0);
  const auto n = static_cast<double>(graph_.size());
  const double task = std::accumulate(graph_.seconds.begin(), graph_.seconds.end(), 0.0) / n;
  const auto all = static_cast<double>(room_);
  current_ = plan_.order;
  for (uint32_t turn = 0; !good_enough(); ++turn) {
    if (turn % 4 == 0) {
      Rule rule = rule_;
      if (random.below(4) == 0) rule.waits = static_cast<Waits>(random.below(4));
      rule.lag = random.below(4) == 0 ? 3 * random.uniform() : rule.lag * (0.5 + random.uniform());
      for (size_t kind = 0; kind < static_cast<size_t>(TaskKind::layer); ++kind)  // layers are by themselves
        if (random.below(3) == 0) rule.bias[kind] += random.uniform() - 0.5;
      const double before = best_;
      try_rule(graph, rule);
      if (best_ < before) current_ = plan_.order;
      continue;
    }
    move_some(graph, random);
    const double deviation = kDeviation * task * static_cast<double>(room_) / all;
    if (try_order(best_ * kHair + deviation) < kInfinity) std::swap(current_, trial_.order);
  }
}

}  // namespace

std::unique_ptr<Scheduler> make_look_ahead() {
  return std::make_unique<LookAhead>();
}

}  // namespace cairn::offload
