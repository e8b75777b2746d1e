#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "base/log.hpp"
#include "base/standard_streams.hpp"

namespace cairn::cli {

// One line that is drawn over, on a terminal; nothing elsewhere.
class StatusLine {
 public:
  StatusLine() : terminal_(shown_ && isatty(STDERR_FILENO) == 1) {}
  ~StatusLine() { wipe(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void say(const std::string& line) {
    wipe();
    if (shown_) tell("{}\n", line);
  }
  void update(const std::string& what, double share, double seconds_left) {
    if (!terminal_) return;
    tell("\r\x1b[K{:3.0f} %  {}, {:.0f} s left", 100 * share, what, seconds_left);
    drawn_ = true;
  }

 private:
  void wipe() {
    if (drawn_) write_error("\r\x1b[K");
    drawn_ = false;
  }
  bool shown_ = logs(LogLevel::info), terminal_, drawn_ = false;
};

}  // namespace cairn::cli
