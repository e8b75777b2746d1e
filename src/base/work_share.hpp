#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

// How much of a work of several stages is done, for an estimate of the time that is left.
class WorkShare {
 public:
  // weight: what the stage is expected to cost, in the same unit for all of them.
  void expect(std::string stage, double weight) { stages_.push_back({std::move(stage), weight, 0}); }

  // part: of the stage, 0 to 1. Stages that nobody expects change nothing. Returns the share of everything.
  double update(std::string_view stage, double part) {
    double all = 0, done = 0;
    for (Stage& one : stages_) {
      if (one.name == stage) one.done = std::max(one.done, std::min(part, 1.0));
      all += one.weight;
      done += one.weight * one.done;
    }
    return all > 0 ? done / all : 0;
  }

  // What is still to be done, in that unit.
  double left() const {
    double sum = 0;
    for (const Stage& one : stages_) sum += one.weight * (1 - one.done);
    return sum;
  }

 private:
  struct Stage {
    std::string name;
    double weight, done;
  };
  std::vector<Stage> stages_;
};

}  // namespace cairn
