#include "offload/flat_graph.hpp"

#include <functional>
#include <queue>

namespace cairn::offload {

FlatGraph::FlatGraph(const TaskGraph& graph) {
  const auto& tasks = graph.tasks();
  processor.reserve(tasks.size());
  seconds.reserve(tasks.size());
  predecessors.reserve(tasks.size());
  begin.reserve(tasks.size() + 1);
  begin.push_back(0);
  for (uint32_t task = 0; task < tasks.size(); ++task) {
    processor.push_back(static_cast<uint8_t>(tasks[task].processor));
    seconds.push_back(tasks[task].seconds);
    predecessors.push_back(static_cast<uint32_t>(graph.predecessors(task).size()));
    const auto after = graph.successors(task);
    successors.insert(successors.end(), after.begin(), after.end());
    begin.push_back(static_cast<uint32_t>(successors.size()));
  }
}

std::vector<uint32_t> FlatGraph::topological_order() const {
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ready;
  Waiting waiting;
  waiting.start(*this);
  const auto push = [&](uint32_t task) { ready.push(task); };
  waiting.first(push);
  std::vector<uint32_t> order;
  order.reserve(size());
  while (!ready.empty()) {
    order.push_back(ready.top());
    ready.pop();
    waiting.finished(order.back(), push);
  }
  return order;
}

}  // namespace cairn::offload
