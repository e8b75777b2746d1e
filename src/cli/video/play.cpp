#include <fmt/format.h>

#include "cli/video/work.hpp"
#include "video/play/player.hpp"

namespace cairn::cli {

void run_play(PlayFlags& flags) {
  const video::PlayReport report = video::play(flags.input, flags.play);
  if (!flags.report) return;
  fmt::print("{} frames shown, {} dropped, the first after {:.0f} ms, at most {:.0f} ms late\n", report.shown,
             report.dropped, report.first_frame * 1e3, report.largest_lag * 1e3);
}

}  // namespace cairn::cli
