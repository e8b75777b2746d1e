#include "cli/stages.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/interrupt.hpp"
#include "base/log.hpp"

namespace cairn::cli {
namespace {

constexpr double kBetweenLines = 30, kSureAfter = 3;  // seconds
constexpr double kTrust = 0.1;  // what was expected counts like what so much of the work has shown

std::string rough(double seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return fmt::format("about {:.0f} seconds", seconds);
  if (seconds < 90 * 60) return fmt::format("about {:.0f} minutes", seconds / 60);
  return fmt::format("about {:.1f} hours", seconds / 3600);
}

}  // namespace

Stages::~Stages() {
  for (const auto& [stage, seconds] : spent_) debug("{}: {} took {:.1f} s", what_, stage, seconds);
}

void Stages::expect(double seconds, const std::string& size) {
  expected_ = seconds;
  watch_.restart();
  last_at_ = 0;
  log_line(LogLevel::info, fmt::format("{}{}, {}", what_.empty() ? "" : what_ + ": ", rough(seconds), size));
}

void Stages::share(double share) {
  if (!share_before_) share_before_ = share;
  if (share != share_) share_at_ = watch_.seconds();
  share_ = share;
}

std::optional<double> Stages::left() const {
  const double seconds = watch_.seconds(), before = share_before_.value_or(0);
  const double done = share_ - before;
  if (expected_) {
    const double part = before < 1 ? done / (1 - before) : 1;
    const double all = (kTrust * *expected_ + share_at_) / (kTrust + part);
    return std::max(all - seconds, all * (1 - part) / 10);  // never nothing while something is to be done
  }
  if (seconds < kSureAfter || done <= 0) return std::nullopt;
  return seconds * (1 - share_) / done;
}

void Stages::update(std::string_view stage, uint64_t done, uint64_t total) {
  throw_if_interrupted();
  const double now = watch_.seconds();
  if (!last_.empty()) spent_[last_] += now - last_at_;
  last_ = stage;
  last_at_ = now;
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
