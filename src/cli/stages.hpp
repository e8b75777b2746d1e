#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/interrupt.hpp"
#include "base/progress.hpp"

namespace cairn::cli {

// Draws a bar for each stage of a long work and lets Ctrl-C end it between two steps.
class Stages {
 public:
  // Error cancelled after an interrupt.
  void update(std::string_view stage, uint64_t done, uint64_t total) {
    throw_if_interrupted();
    if (stage != stage_) {
      bar_.reset();
      stage_ = stage;
      bar_.emplace(stage_, total, "steps");
      bar_->restart(done, total);
    }
    bar_->update(done);
    if (done == total) bar_.reset(), stage_.clear();
  }

 private:
  std::string stage_;
  std::optional<Progress> bar_;
};

}  // namespace cairn::cli
