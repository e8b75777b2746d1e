#include "offload/timeline.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <vector>

namespace cairn::offload {

double Timeline::makespan() const {
  double end = 0;
  for (const Event& event : events) end = std::max(end, event.end);
  return end;
}

double Timeline::busy(Processor processor) const {
  double seconds = 0;
  for (const Event& event : events)
    if (event.processor == processor) seconds += event.end - event.begin;
  return seconds;
}

double Timeline::bubble(Processor processor) const {
  double first = std::numeric_limits<double>::infinity();
  for (const Event& event : events)
    if (event.processor == processor) first = std::min(first, event.begin);
  const double span = makespan() - first;
  return span > 0 ? std::max(0.0, 1 - busy(processor) / span) : 0;
}

double Timeline::waiting() const {
  std::map<uint32_t, std::vector<const Event*>> chunks;
  for (const Event& event : events) chunks[event.chunk].push_back(&event);
  double shares = 0;
  for (auto& [chunk, runs] : chunks) {
    std::sort(runs.begin(), runs.end(), [](const Event* a, const Event* b) { return a->begin < b->begin; });
    double working = 0, until = runs.front()->begin;
    for (const Event* run : runs) {
      working += std::max(0.0, run->end - std::max(run->begin, until));
      until = std::max(until, run->end);
    }
    const double span = until - runs.front()->begin;
    shares += span > 0 ? std::max(0.0, 1 - working / span) : 0;
  }
  return chunks.empty() ? 0 : shares / static_cast<double>(chunks.size());
}

}  // namespace cairn::offload
