#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "formats/stack_file.hpp"

namespace cairn::stack {

// Iterative absolute value decomposition (BitStack, arXiv 2410.23918, algorithm 1): W · diag(s) = Σ_i S_i ⊙
// U_i V_iᵀ, S_i the signs of what is left, U_i V_iᵀ the best rank-16 product for its magnitudes.
struct AvdOptions {
  unsigned levels = kAvdLevels;
  unsigned iterations = 4;  // of subspace iteration for the leading singular vectors
};

// weights: [rows][columns]; column_scales: s > 0, [columns] (mean 1, so that halves hold them), or empty for
// none. Returns the blocks of levels 1, 2, …; losses gets Σ (W − its first levels)² s² for 0, 1, … levels.
std::vector<std::vector<std::byte>> avd_blocks(std::span<const float> weights, uint32_t rows,
                                               uint32_t columns, std::span<const float> column_scales,
                                               const AvdOptions& options, ThreadPool& pool,
                                               std::vector<double>& losses);

// The sum of a matrix's blocks.
class AvdSum {
 public:
  AvdSum(uint32_t rows, uint32_t columns);
  void add(std::span<const std::byte> block, uint8_t level, ThreadPool& pool);
  std::vector<float> take();  // [rows][columns]

 private:
  uint32_t rows_, columns_;
  std::vector<float> sum_, column_scales_;
};

}  // namespace cairn::stack
