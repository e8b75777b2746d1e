#include "stack/fit_tables.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

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

}  // namespace

Tables fit_tables(std::span<const TableSample> samples, const Tables& start, const FitOptions& options,
                  ThreadPool& pool) {
  Tables tables = start;
  std::vector<std::unique_ptr<Strip>> strips;
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  for (const TableSample& sample : samples) {
    strips.push_back(std::make_unique<Strip>(*sample.factors, tables, options, kernels));
    strips.back()->start(sample.weights, sample.importance.size());
    strips.back()->set_importance(sample.importance);
  }
  for (unsigned round = 0; round < options.table_rounds; ++round) {
    std::vector<CodeSums> parts(strips.size());
    run_interruptible(pool, strips.size(), [&](size_t, size_t i) {
      if (2 * round < options.table_rounds)
        strips[i]->feed_back(&parts[i]);
      else
        strips[i]->descend(&parts[i]);
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
