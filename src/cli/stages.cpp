#include "cli/stages.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "base/interrupt.hpp"
#include "base/log.hpp"

namespace cairn::cli {
namespace {

constexpr double kBetweenLines = 30, kSureAfter = 3;  // seconds

}  // namespace

void Stages::share(double share) {
  if (!share_before_) share_before_ = share;
  share_ = share;
}

std::optional<double> Stages::left() const {
  const double seconds = watch_.seconds(), done = share_ - share_before_.value_or(0);
  if (seconds < kSureAfter || done <= 0) return std::nullopt;
  return seconds * (1 - share_) / done;
}

void Stages::update(std::string_view stage, uint64_t done, uint64_t total) {
  throw_if_interrupted();
  if (stage != stage_) {
    bar_.reset();
    stage_ = stage;
    bar_.emplace(stage_, total, "steps");
    bar_->restart(done, total);
  }
  if (const auto seconds = left()) bar_->set_all_left(*seconds);
  bar_->update(done);
  if (isatty(STDERR_FILENO) == 0 && logs(LogLevel::info) && watch_.seconds() >= next_line_) {
    next_line_ = watch_.seconds() + kBetweenLines;
    const auto seconds = left();
    log_line(LogLevel::info,
             fmt::format("{}{} {} of {}{}", what_.empty() ? "" : what_ + ": ", stage, done, total,
                         seconds ? ", about " + duration(*seconds) + " left in all" : ""));
  }
  if (done == total) bar_.reset(), stage_.clear();
}

}  // namespace cairn::cli
