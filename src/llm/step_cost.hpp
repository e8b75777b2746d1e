#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cairn::llm {

// Seconds that an engine's step of so many rows takes, by those that were measured. What was measured only a
// few times may have been the first touch of something: it counts no more than what its neighbours suggest.
class StepCost {
 public:
  bool known() const noexcept { return steps_ >= kSettled; }
  bool settled(size_t rows) const { return times_[rows] >= kSettled; }  // 1 … 8
  // 0 rows: 0. What was never measured is taken from its neighbours.
  double of(size_t rows) const;
  double more(size_t rows) const;  // what one row more than these adds
  void learn(size_t rows, double seconds);
  // What several rows take may be otherwise by now: they are not settled any more.
  void doubt();

 private:
  static constexpr size_t kRows = 8;  // beyond them a step is several
  static constexpr uint32_t kSettled = 3;
  double within(size_t rows) const;    // 1 … kRows
  double supposed(size_t rows) const;  // by others; 0: there are none
  std::array<double, kRows + 1> seconds_{};
  std::array<uint32_t, kRows + 1> times_{};  // that they were measured
  uint32_t steps_ = 0;                       // … at all, as far as it matters
};

}  // namespace cairn::llm
