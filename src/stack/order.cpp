#include "stack/order.hpp"

#include <algorithm>
#include <tuple>

namespace cairn::stack {
namespace {

// Consecutive levels of a ladder that are taken together.
struct Pool {
  double gain, bytes;
  uint32_t ladder;
  uint8_t first, last;
  double rate() const { return gain / bytes; }
};

}  // namespace

std::vector<Step> order_steps(std::span<const Ladder> ladders) {
  std::vector<Pool> pools;
  double loss = 0;
  std::vector<Step> steps;
  for (uint32_t i = 0; i < ladders.size(); ++i) {
    const Ladder& ladder = ladders[i];
    loss += ladder.losses.front();
    const size_t begin = pools.size();
    for (size_t level = 1; level < ladder.bytes.size(); ++level) {
      const auto number = static_cast<uint8_t>(level + 1);
      pools.push_back({ladder.losses[level - 1] - ladder.losses[level],
                       static_cast<double>(ladder.bytes[level]), i, number, number});
      while (pools.size() > begin + 1 && pools.back().rate() > pools[pools.size() - 2].rate()) {
        const Pool later = pools.back();
        pools.pop_back();
        pools.back().gain += later.gain;
        pools.back().bytes += later.bytes;
        pools.back().last = later.last;
      }
    }
  }
  for (uint32_t i = 0; i < ladders.size(); ++i) steps.push_back({i, 1, loss});
  std::sort(pools.begin(), pools.end(), [](const Pool& a, const Pool& b) {
    return std::make_tuple(-a.rate(), a.first, a.ladder) < std::make_tuple(-b.rate(), b.first, b.ladder);
  });
  for (const Pool& pool : pools) {
    for (unsigned level = pool.first; level <= pool.last; ++level) {
      const Ladder& ladder = ladders[pool.ladder];
      loss += ladder.losses[level - 1] - ladder.losses[level - 2];
      steps.push_back({pool.ladder, static_cast<uint8_t>(level), std::max(loss, 0.0)});
    }
  }
  return steps;
}

std::vector<Step> order_by_level(std::span<const Ladder> ladders) {
  std::vector<Step> steps;
  double loss = 0;
  size_t levels = 0;
  for (uint32_t i = 0; i < ladders.size(); ++i) {
    loss += ladders[i].losses.front();
    levels = std::max(levels, ladders[i].losses.size());
  }
  for (size_t level = 1; level <= levels; ++level) {
    std::vector<Step> those;  // loss: how it changes
    for (uint32_t i = 0; i < ladders.size(); ++i) {
      const std::vector<double>& losses = ladders[i].losses;
      if (level > losses.size()) continue;
      those.push_back(
          {i, static_cast<uint8_t>(level), level == 1 ? 0 : losses[level - 1] - losses[level - 2]});
    }
    std::stable_sort(those.begin(), those.end(),
                     [](const Step& a, const Step& b) { return a.loss < b.loss; });
    for (Step& step : those) {
      loss += step.loss;
      step.loss = std::max(loss, 0.0);
      steps.push_back(step);
    }
  }
  return steps;
}

}  // namespace cairn::stack
