#include "offload/timeline.hpp"

#include <algorithm>
#include <limits>

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

}  // namespace cairn::offload
