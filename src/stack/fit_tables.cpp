#include "stack/fit_tables.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

#include "base/interruptible.hpp"
#include "kernels/kernel_set.hpp"
#include "stack/strip.hpp"

namespace cairn::stack {
namespace {

// Rounds a level's values to int8, the largest magnitude 127.
void set_level(Tables& tables, unsigned level, const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  tables.units[level] = static_cast<float>(largest / 127);
  for (size_t i = 0; i < values.size(); ++i) {
    const double integer = std::round(values[i] / largest * 127);
    tables.integers[table_offset(level) + i] = static_cast<int8_t>(integer);
    tables.values[level][i] = static_cast<float>(integer) * tables.units[level];
  }
}

// A code and its mirror image share what was seen of both, so that tables stay odd.
CodeSums::Moments both(const CodeSums& sums, unsigned level, size_t code) {
  CodeSums::Moments m = sums.moments[level][code];
  const CodeSums::Moments& mirror = sums.moments[level][(size_t{1} << level) - 1 - code];
  m.weight += mirror.weight;
  m.first -= mirror.first;
  return m;
}

void centre(Tables& tables, unsigned level, const CodeSums& sums) {
  std::vector<double> values;
  for (size_t code = 0; code < tables.values[level].size(); ++code) {
    const CodeSums::Moments m = both(sums, level, code);
    const auto before = static_cast<double>(tables.values[level][code]);
    values.push_back(m.weight > 0 ? m.first / m.weight : before);
  }
  set_level(tables, level, values);
}

// The order in which a pool's threads, each with a run of it for itself, have the same to do: rows of a few
// matrices are several times as wide as the others, and go first.
std::vector<size_t> dealt(std::span<const TableSample> samples, size_t threads) {
  std::vector<size_t> widest(samples.size()), order;
  std::iota(widest.begin(), widest.end(), size_t{0});
  std::stable_sort(widest.begin(), widest.end(),
                   [&](size_t a, size_t b) { return samples[a].factors->width > samples[b].factors->width; });
  for (size_t thread = 0; thread < threads; ++thread) {
    for (size_t i = thread; i < widest.size(); i += threads) order.push_back(widest[i]);
  }
  return order;
}

// Says how much of the fit is done, on the thread that made it alone: others only count.
class Progress {
 public:
  Progress(const std::function<void(uint64_t, uint64_t)>& tell, uint64_t total)
      : tell_(tell), total_(std::max<uint64_t>(total, 1)) {
    add(0);
  }
  void add(uint64_t cost) noexcept {
    const uint64_t done = done_ += cost;
    if (std::this_thread::get_id() != caller_ || !tell_ || error_) return;
    try {
      tell_(done * kParts / total_, kParts);
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  void end_of_round() {
    add(0);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static constexpr uint64_t kParts = 1000;
  const std::function<void(uint64_t, uint64_t)>& tell_;
  const uint64_t total_;
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<uint64_t> done_{0};
  std::exception_ptr error_{};  // the caller's own
};

}  // namespace

Tables fit_tables(std::span<const TableSample> samples, const Tables& start, const FitOptions& options,
                  ThreadPool& pool, const std::function<void(uint64_t done, uint64_t total)>& progress) {
  Tables tables = start;
  std::vector<std::unique_ptr<Strip>> strips;
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  uint64_t round_cost = 0;
  const auto cost = [&](size_t i) { return uint64_t{samples[i].factors->width} * samples[i].factors->width; };
  for (size_t i = 0; i < samples.size(); ++i) {
    strips.push_back(std::make_unique<Strip>(*samples[i].factors, tables, options, kernels));
    round_cost += cost(i);
  }
  const std::vector<size_t> order = dealt(samples, pool.threads());
  Progress told(progress, round_cost * (options.table_rounds + 1));
  const auto for_strips = [&](const auto& body) {
    run_interruptible(pool, strips.size(), [&](size_t, size_t task) {
      body(order[task]);
      told.add(cost(order[task]));
    });
    told.end_of_round();
  };
  for_strips([&](size_t i) {
    strips[i]->start(samples[i].weights, samples[i].importance.size());
    strips[i]->set_importance(samples[i].importance);
  });
  for (unsigned round = 0; round < options.table_rounds; ++round) {
    std::vector<CodeSums> parts(strips.size());
    const bool last = round + 1 == options.table_rounds;
    for_strips([&](size_t i) {
      if (2 * round < options.table_rounds)
        strips[i]->feed_back(&parts[i], !last);
      else
        strips[i]->descend(&parts[i], !last);
    });
    CodeSums sums;
    for (const CodeSums& part : parts) {
      for (unsigned k = 1; k <= kPlanes; ++k) {
        for (size_t code = 0; code < size_t{1} << k; ++code) sums.moments[k][code].add(part.moments[k][code]);
      }
    }
    for (unsigned k = 1; k <= kPlanes; ++k) centre(tables, k, sums);
  }
  return tables;
}

}  // namespace cairn::stack
