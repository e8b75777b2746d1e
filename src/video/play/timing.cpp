#include <algorithm>

#include "video/play/player.hpp"

namespace cairn::video {

Timing time_frame(double due, double next_due, double now) {
  if (now >= next_due) return {true, 0};
  return {false, std::max(0.0, due - now)};
}

}  // namespace cairn::video
