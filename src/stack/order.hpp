#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cairn::stack {

// A group's way from level 1 up: what each level costs in the file and what is lost with it, predicted.
struct Ladder {
  std::vector<uint64_t> bytes;  // [level − 1]
  std::vector<double> losses;   // [level − 1]
};
struct Step {
  uint32_t ladder;
  uint8_t level;
  double loss;  // of the whole after this step
};

// All steps: level 1 of every ladder first, then by gain for each byte, largest first, levels of a ladder in
// their order. A step that gains less for each byte than one after it on its ladder is taken together with
// that (pool adjacent violators), so that no order that keeps levels in turn would lose less at any size that
// ends with such a pool.
std::vector<Step> order_steps(std::span<const Ladder> ladders);
// Every ladder's level k before any level k + 1; within a level by gain, largest first.
std::vector<Step> order_by_level(std::span<const Ladder> ladders);

}  // namespace cairn::stack
