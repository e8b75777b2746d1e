#include "offload/follower.hpp"

#include <algorithm>
#include <functional>

namespace cairn::offload {

static_assert(kProcessors == 2, "on_time() looks at the one other processor");

void Follower::start(const FlatGraph& graph, const Plan& plan) {
  graph_ = &graph;
  end_ = plan.end;
  place_.resize(graph.size());
  begun_.assign(graph.size(), false);
  for (Queue& queue : queues_) queue = {};
  for (uint32_t task : plan.order) {
    auto& tasks = queues_[graph.processor[task]].tasks;
    place_[task] = static_cast<uint32_t>(tasks.size());
    tasks.push_back(task);
  }
  waiting_.start(graph);
  waiting_.first([this](uint32_t task) { push(task); });
}

void Follower::push(uint32_t task) {
  auto& ready = queues_[graph_->processor[task]].ready;
  ready.push_back(place_[task]);
  std::push_heap(ready.begin(), ready.end(), std::greater<>());
}

void Follower::finished(uint32_t task) {
  queues_[graph_->processor[task]].running = -1;
  waiting_.finished(task, [this](uint32_t successor) { push(successor); });
}

void Follower::skip_begun(Queue& queue) const {
  while (queue.at < queue.tasks.size() && begun_[queue.tasks[queue.at]]) ++queue.at;
}

int64_t Follower::begin(size_t p, uint32_t task) {
  begun_[task] = true;
  skip_begun(queues_[p]);
  return queues_[p].running = task;
}

// Whether what p's next task waits for comes as planned.
bool Follower::on_time(size_t p) const {
  const Queue &own = queues_[p], &other = queues_[1 - p];
  if (other.running < 0)  // it begins its next task right away, if it can
    return other.at < other.tasks.size() && waiting_[other.tasks[other.at]] == 0;
  const double idle_since = own.at == 0 ? 0 : end_[own.tasks[own.at - 1]];
  return end_[static_cast<size_t>(other.running)] >= idle_since;
}

int64_t Follower::next(Processor processor) {
  const auto p = static_cast<size_t>(processor);
  Queue& queue = queues_[p];
  if (queue.at == queue.tasks.size()) return -1;
  const uint32_t planned = queue.tasks[queue.at];
  if (waiting_[planned] == 0) return begin(p, planned);
  auto& ready = queue.ready;
  while (!ready.empty() && begun_[queue.tasks[ready.front()]]) {
    std::pop_heap(ready.begin(), ready.end(), std::greater<>());
    ready.pop_back();
  }
  if (ready.empty() || on_time(p)) return -1;
  return begin(p, queue.tasks[ready.front()]);
}

}  // namespace cairn::offload
