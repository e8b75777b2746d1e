#include "llm/step_cost.hpp"

#include <algorithm>

namespace cairn::llm {
namespace {

constexpr double kMore = 0.12;                        // supposed of a row, against one alone
constexpr double kStep = 1.0 / 8, kDrift = 1.0 / 16;  // shares of new evidence

}  // namespace

double StepCost::supposed(size_t rows) const {
  size_t below = rows - 1, above = rows + 1;
  while (below > 0 && times_[below] == 0) --below;
  while (above <= kRows && times_[above] == 0) ++above;
  const auto shape = [](size_t n) { return 1 + kMore * (static_cast<double>(n) - 1); };
  if (below > 0 && above <= kRows && settled(above)) {
    const double share = static_cast<double>(rows - below) / static_cast<double>(above - below);
    return seconds_[below] + share * std::max(0.0, seconds_[above] - seconds_[below]);
  }
  if (below > 0) return seconds_[below] * shape(rows) / shape(below);
  return above <= kRows ? seconds_[above] * shape(rows) / shape(above) : 0;
}

double StepCost::within(size_t rows) const {
  if (settled(rows)) return seconds_[rows];
  const double others = times_[rows] > 0 && rows == 1 ? 0 : supposed(rows);
  if (times_[rows] == 0) return others;
  return others == 0 ? seconds_[rows] : std::min(seconds_[rows], others);
}

double StepCost::of(size_t rows) const {
  if (steps_ == 0 || rows == 0) return 0;
  const size_t rest = rows % kRows;
  return static_cast<double>(rows / kRows) * within(kRows) + (rest > 0 ? within(rest) : 0);
}

double StepCost::more(size_t rows) const {
  return std::max(0.0, of(rows + 1) - of(rows));
}

void StepCost::doubt() {
  for (size_t rows = 2; rows <= kRows; ++rows) times_[rows] = std::min(times_[rows], kSettled - 1);
}

void StepCost::learn(size_t rows, double seconds) {
  if (rows == 0 || rows > kRows || seconds <= 0) return;
  double& measured = seconds_[rows];
  steps_ = std::min(steps_ + 1, kSettled);
  if (times_[rows] < kSettled) {
    measured = times_[rows] == 0 ? seconds : std::min(measured, seconds);
    ++times_[rows];
    return;
  }
  // One step that was interrupted says little; a machine that has become slower is slower at all of them.
  const double ratio = std::clamp(seconds / measured, 0.5, 2.0);
  for (double& other : seconds_) other *= 1 + kDrift * (ratio - 1);
  measured += (kStep - kDrift) * (ratio - 1) * measured;
}

}  // namespace cairn::llm
