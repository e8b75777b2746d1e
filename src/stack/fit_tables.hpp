#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "stack/fit.hpp"

namespace cairn::stack {

// Rows of a matrix to fit tables to.
struct TableSample {
  std::vector<float> weights;     // [rows][factors->width], at most kernels::kStripRows rows
  std::vector<float> importance;  // [rows]
  std::shared_ptr<const Factors> factors;
};

// Tables for how fit_matrix chooses. A code serves several levels, so that what it is chosen for at one of
// them reaches beyond the cell that is best there alone: each value moves to the centroid of what it really
// stands for, weighted by what errors cost (Lloyd's condition), options.table_rounds times. Finer values then
// overlap those of their neighbours' children. Reproducible whatever the number of threads. progress: in
// thousandths, on the caller's thread; what it throws ends the fit.
Tables fit_tables(std::span<const TableSample> samples, const Tables& start, const FitOptions& options,
                  ThreadPool& pool, const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace cairn::stack
