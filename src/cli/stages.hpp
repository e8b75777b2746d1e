#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/progress.hpp"

namespace cairn::cli {

// Shows the stages of a long work, and lets Ctrl-C end it between two steps. On a terminal a bar a stage with
// the time that is left of everything; elsewhere a line now and then, so that a log tells how far it is.
class Stages {
 public:
  // what: "stack", at the beginning of each line.
  explicit Stages(std::string what = "") : what_(std::move(what)) {}

  ~Stages();  // with --verbose: what each stage took
  Stages(const Stages&) = delete;
  Stages& operator=(const Stages&) = delete;

  // Error cancelled after an interrupt.
  void update(std::string_view stage, uint64_t done, uint64_t total);

  // What everything is expected to take: told at once, the whole of it with `size` ("about 98 MB").
  void expect(double seconds, const std::string& size);

  // How much of everything is done, 0 to 1. The first that is told was done before this run.
  void share(double share);

 private:
  // Seconds until everything is done, as far as that can be told by now.
  std::optional<double> left() const;

  std::string what_, stage_;
  std::optional<Progress> bar_;
  Stopwatch watch_;
  double share_ = 0, share_at_ = 0, next_line_ = 5;  // the latter two: seconds
  std::optional<double> share_before_, expected_;
  std::string last_;  // stage
  double last_at_ = 0;
  std::map<std::string, double> spent_;  // seconds, by stage
};

}  // namespace cairn::cli
