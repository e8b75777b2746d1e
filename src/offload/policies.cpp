#include "offload/policies.hpp"

#include "base/error.hpp"

namespace cairn::offload {
namespace {

constexpr std::array<Policy, 5> kPolicies = {Policy::in_order, Policy::pairs, Policy::overlap,
                                             Policy::out_of_order, Policy::look_ahead};

// Chunk after chunk, one task at a time on one processor or the other.
class InOrder final : public Scheduler {
 public:
  std::string_view name() const override { return offload::name(Policy::in_order); }
  void start(const TaskGraph& graph) override {
    graph_ = FlatGraph(graph);
    order_ = graph_.topological_order();
    position_ = 0;
    running_ = false;
  }
  void finished(uint32_t) override { running_ = false; }
  int64_t next(Processor processor) override {
    if (running_ || position_ == order_.size()) return -1;
    const uint32_t task = order_[position_];
    if (graph_.processor[task] != static_cast<uint8_t>(processor)) return -1;
    ++position_;
    running_ = true;
    return task;
  }

 private:
  FlatGraph graph_;
  std::vector<uint32_t> order_;
  size_t position_ = 0;
  bool running_ = false;
};

template <class Decider, Policy policy>
class Deciding final : public Scheduler {
 public:
  std::string_view name() const override { return offload::name(policy); }
  void start(const TaskGraph& graph) override {
    graph_ = FlatGraph(graph);
    decider_.start(graph_);
  }
  void finished(uint32_t task) override { decider_.finished(task); }
  int64_t next(Processor processor) override { return decider_.next(processor); }

 private:
  FlatGraph graph_;
  Decider decider_;
};

}  // namespace

void FirstCome::start(const FlatGraph& graph) {
  graph_ = &graph;
  for (auto& queue : queues_) queue.clear();
  served_.fill(0);
  waiting_.start(graph);
  waiting_.first([this](uint32_t task) { ready(task); });
}

void FirstCome::finished(uint32_t task) {
  waiting_.finished(task, [this](uint32_t successor) { ready(successor); });
}

int64_t FirstCome::next(Processor processor) {
  const auto p = static_cast<size_t>(processor);
  return served_[p] < queues_[p].size() ? int64_t{queues_[p][served_[p]++]} : -1;
}

void MaxC::start(const FlatGraph& graph) {
  graph_ = &graph;
  for (auto& ready : ready_) ready.clear();
  waiting_.start(graph);
  waiting_.first([this](uint32_t task) { ready_[graph_->processor[task]].push_back(task); });
}

void MaxC::finished(uint32_t task) {
  waiting_.finished(
      task, [this](uint32_t successor) { ready_[graph_->processor[successor]].push_back(successor); });
}

double MaxC::c(uint32_t task) const {
  double unlocked = 0;
  for (uint32_t successor : graph_->successors_of(task))
    if (waiting_[successor] == 1 && graph_->processor[successor] != graph_->processor[task])
      unlocked += graph_->seconds[successor];
  return graph_->processor[task] == static_cast<uint8_t>(Processor::cpu) ? unlocked : -unlocked;
}

int64_t MaxC::next(Processor processor) {
  auto& ready = ready_[static_cast<size_t>(processor)];
  if (ready.empty()) return -1;
  size_t best = 0;
  double best_c = c(ready[0]);
  for (size_t i = 1; i < ready.size(); ++i) {
    const double candidate = c(ready[i]);
    if (candidate < best_c || (candidate == best_c && ready[i] > ready[best])) continue;
    best = i;
    best_c = candidate;
  }
  const uint32_t task = ready[best];
  ready[best] = ready.back();
  ready.pop_back();
  return task;
}

const char* name(Policy policy) {
  switch (policy) {
    case Policy::in_order:
      return "in-order";
    case Policy::pairs:
      return "pairs";
    case Policy::overlap:
      return "overlap";
    case Policy::out_of_order:
      return "out-of-order";
    case Policy::look_ahead:
      return "look-ahead";
  }
  return "";
}

Policy parse_policy(std::string_view text) {
  for (Policy policy : kPolicies)
    if (text == offload::name(policy)) return policy;
  fail(ErrorCode::invalid_argument,
       "policy '{}' is not known; there are in-order, pairs, overlap, out-of-order, look-ahead", text);
}

std::unique_ptr<Scheduler> make_scheduler(Policy policy) {
  switch (policy) {
    case Policy::in_order:
      return std::make_unique<InOrder>();
    case Policy::pairs:
      return make_chunk_pairs();
    case Policy::overlap:
      return std::make_unique<Deciding<FirstCome, Policy::overlap>>();
    case Policy::out_of_order:
      return std::make_unique<Deciding<MaxC, Policy::out_of_order>>();
    case Policy::look_ahead:
      return make_look_ahead();
  }
  fail(ErrorCode::invalid_argument, "policy {} is not known", static_cast<int>(policy));
}

}  // namespace cairn::offload
