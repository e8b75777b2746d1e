#include "stack/factors.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kBlock = kernels::kStripRows;  // rows that are taken together
constexpr size_t kDepth = 128;                  // products whose sums are floats

// body(first, last) for the panels of the columns [0, end).
template <class Body>
void for_tiles(ThreadPool& pool, size_t end, const Body& body) {
  run_interruptible(pool, (end + kPanel - 1) / kPanel,
                    [&](size_t, size_t tile) { body(tile * kPanel, std::min(end, (tile + 1) * kPanel)); });
}

// The last `count` rows up to a block, and what of them is within it.
struct RowBlock {
  size_t begin, count;
  std::vector<double> values;  // [column][kBlock]

  double& at(size_t row, size_t column) { return values[column * kBlock + row]; }
  // Cholesky of the block's own columns, from its last row up: lower triangular D with Dᵀ D = what was there.
  void factor_diagonal() {
    for (size_t j = count; j-- > 0;) {
      double& pivot = at(j, begin + j);
      pivot = std::sqrt(pivot);
      if (!(pivot > 0))
        fail(ErrorCode::numeric, "second moments of inputs are not positive definite in row {}", begin + j);
      for (size_t i = 0; i < j; ++i) at(j, begin + i) /= pivot;
      for (size_t i = 0; i < j; ++i) {
        for (size_t k = 0; k <= i; ++k) at(i, begin + k) -= at(j, begin + i) * at(j, begin + k);
      }
    }
  }
  // Dᵀ x = the column, left in its place.
  void solve(size_t column) {
    double* x = &values[column * kBlock];
    for (size_t j = count; j-- > 0;) {
      x[j] /= at(j, begin + j);
      for (size_t i = 0; i < j; ++i) x[i] -= at(j, begin + i) * x[j];
    }
  }
};

// Leaves in t, lower triangular, T with Tᵀ T = h (Cholesky from the last row up). By blocks of rows, so that
// a matrix of thousands of columns is read from memory once a block. Entries are floats, as those of h are;
// sums of many are in double precision: h is nearly singular, and damped by far more than what that costs.
void lower_cholesky(const Panels& h, Panels& t, ThreadPool& pool) {
  const size_t n = h.columns();
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  std::vector<float> below(n * kBlock);  // T[d][begin …] for rows d of the blocks before
  RowBlock rows{0, 0, std::vector<double>(n * kBlock)};
  for (size_t end = n; end > 0; end = rows.begin) {
    rows.begin = (end - 1) / kBlock * kBlock;
    rows.count = end - rows.begin;
    run_interruptible(pool, (n - end + kBlock - 1) / kBlock, [&](size_t, size_t part) {
      for (size_t d = end + part * kBlock; d < std::min(n, end + (part + 1) * kBlock); ++d) {
        for (size_t r = 0; r < rows.count; ++r) below[(d - end) * kBlock + r] = t.at(d, rows.begin + r);
      }
    });
    for_tiles(pool, end, [&](size_t first, size_t last) {
      double* sums = &rows.values[first * kBlock];
      std::fill_n(sums, (last - first) * kBlock, 0.0);
      for (size_t d = end; d < n; d += kDepth) {
        std::array<float, kPanel * kBlock> part{};
        t.multiply_add(kernels, first, last, d, std::min(n, d + kDepth), &below[(d - end) * kBlock],
                       part.data());
        for (size_t i = 0; i < (last - first) * kBlock; ++i) sums[i] += static_cast<double>(part[i]);
      }
      for (size_t i = first; i < last; ++i) {
        for (size_t r = 0; r < rows.count; ++r)
          rows.at(r, i) = static_cast<double>(h.at(rows.begin + r, i)) - rows.at(r, i);
      }
    });
    rows.factor_diagonal();
    for_tiles(pool, end, [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) {
        if (i < rows.begin) rows.solve(i);
        for (size_t r = i < rows.begin ? 0 : i - rows.begin; r < rows.count; ++r)
          t.at(rows.begin + r, i) = static_cast<float>(rows.at(r, i));
      }
    });
  }
}

}  // namespace

Factors factorize(std::vector<float> moments, size_t width, ThreadPool& pool, float damping) {
  const size_t n = width;
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(moments[i * n + i]) / static_cast<double>(n);
  if (!std::isfinite(mean)) fail(ErrorCode::numeric, "second moments of {} inputs are not finite", n);
  const float ridge = damping * static_cast<float>(mean) + 1e-20f;
  for (size_t i = 0; i < n; ++i) moments[i * n + i] += ridge;
  Factors factors{n, Panels(n, n), {}};
  for_tiles(pool, n, [&](size_t first, size_t last) {
    for (size_t j = 0; j < n; ++j) {
      for (size_t i = first; i < last; ++i) factors.hessian.at(j, i) = moments[j * n + i];
    }
  });
  moments = {};
  Panels& t = factors.feedback = Panels(n, n);
  lower_cholesky(factors.hessian, t, pool);
  for_tiles(pool, n, [&](size_t first, size_t last) {
    for (size_t c = first; c < last; ++c) {
      for (size_t j = 0; j < c; ++j) t.at(j, c) = t.at(c, j) / t.at(c, c);
    }
  });
  return factors;
}

Factors identity_factors(size_t width) {
  Factors factors{width, Panels(width, width), {}};
  for (size_t i = 0; i < width; ++i) factors.hessian.at(i, i) = 1;
  factors.feedback = factors.hessian;
  return factors;
}

}  // namespace cairn::stack
