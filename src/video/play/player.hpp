// A window that plays a restored video, its audio in step.
#pragma once

#include <cstdint>
#include <string>

#include "video/restore.hpp"

namespace cairn::video {

struct PlayOptions {
  RestoreOptions restore;
  bool mute = false, fullscreen = false, loop = false;
  uint64_t frames = 0;  // stop after so many; 0: at the end
};

struct PlayReport {
  uint64_t shown = 0, dropped = 0;  // frames
  double first_frame = 0;           // seconds from the call to the first frame in the window
  double largest_lag = 0;           // seconds that a shown frame was late, at most
};

// Plays until the end, or until the window is closed (q, Escape). Space pauses, b shows the small video
// upscaled by the bicubic while it is held, f toggles full screen. The clock is the audio that has been
// heard, or the system's where there is none; a frame that is due when the next one is as well is dropped.
// Errors: RestoredReader's; unsupported: built without SDL, or no display.
PlayReport play(const std::string& path, const PlayOptions& options = {});

// What play() decides for a frame due at `due`, the next one at `next_due` (seconds), when the clock says
// `now`: drop it, or show it after that many seconds.
struct Timing {
  bool drop = false;
  double wait = 0;
};
Timing time_frame(double due, double next_due, double now);

}  // namespace cairn::video
