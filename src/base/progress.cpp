#include "base/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/standard_streams.hpp"

namespace cairn {
namespace {

constexpr double kWorthShowing = 2.0;  // seconds that the whole must be expected to take
constexpr double kBetweenDraws = 0.1;
constexpr size_t kBarCells = 24;

size_t terminal_columns() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string quantity(double value, const std::string& unit) {
  if (unit != "B") return fmt::format("{:.0f} {}", value, unit);
  constexpr double mebi = 1024.0 * 1024.0;
  return value < 1024 * mebi ? fmt::format("{:.1f} MiB", value / mebi)
                             : fmt::format("{:.2f} GiB", value / mebi / 1024);
}

std::string duration(double seconds) {
  const auto whole = static_cast<uint64_t>(std::clamp(seconds, 0.0, 359999.0) + 0.5);
  return whole < 3600 ? fmt::format("{}:{:02}", whole / 60, whole % 60)
                      : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

Progress::Progress(std::string label, uint64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) write_error("\r\033[K");
}

void Progress::restart(uint64_t done, uint64_t total) {
  begin_ = done_ = done;
  total_ = total;
  next_draw_ = 0.3;
  watch_.restart();
}

void Progress::update(uint64_t done) {
  done_ = done;
  if (!terminal_) return;
  const double seconds = watch_.seconds();
  if (seconds < next_draw_) return;
  next_draw_ = seconds + kBetweenDraws;
  draw(seconds);
}

void Progress::draw(double seconds) {
  const double rate = static_cast<double>(done_ - std::min(begin_, done_)) / seconds;
  const double left = total_ > done_ && rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  if (!drawn_ && seconds + left < kWorthShowing) return;

  std::string line = label_ + "  ";
  if (total_ > 0) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    const auto filled = static_cast<size_t>(share * kBarCells);
    line += fmt::format("[{}{}] {:3.0f}%  ", std::string(filled, '#'), std::string(kBarCells - filled, '.'),
                        100 * share);
  }
  line += quantity(static_cast<double>(done_), unit_) + "  " + quantity(rate, unit_) + "/s";
  if (left > 0) line += "  " + duration(left) + " left";
  line.resize(std::min(line.size(), terminal_columns() - 1));  // a line that wraps could not be wiped
  tell("\r{}\033[K", line);
  drawn_ = true;
}

}  // namespace cairn
