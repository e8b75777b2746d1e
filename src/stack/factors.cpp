#include "stack/factors.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "base/interruptible.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kBlock = 64;    // rows that are taken together
constexpr size_t kTile = 64;     // columns of a task
constexpr size_t kRegister = 4;  // rows and columns whose sums stay in registers

constexpr size_t kDepth = 128;  // rows of both factors that stay in cache

// c[r][k] −= Σ_d x[d][r] · y[d][k], for r in [0, rows), k in [0, columns).
void subtract_part(size_t rows, size_t columns, size_t depth, const double* x, size_t x_stride,
                   const double* y, size_t y_stride, double* c, size_t c_stride) {
  for (size_t r = 0; r < rows; r += kRegister) {
    for (size_t k = 0; k < columns; k += kRegister) {
      const size_t height = std::min(kRegister, rows - r), width = std::min(kRegister, columns - k);
      double sums[kRegister][kRegister] = {};
      if (height == kRegister && width == kRegister) {
        for (size_t d = 0; d < depth; ++d) {
          for (size_t i = 0; i < kRegister; ++i) {
            for (size_t j = 0; j < kRegister; ++j)
              sums[i][j] += x[d * x_stride + r + i] * y[d * y_stride + k + j];
          }
        }
      } else {
        for (size_t d = 0; d < depth; ++d) {
          for (size_t i = 0; i < height; ++i) {
            for (size_t j = 0; j < width; ++j)
              sums[i][j] += x[d * x_stride + r + i] * y[d * y_stride + k + j];
          }
        }
      }
      for (size_t i = 0; i < height; ++i) {
        for (size_t j = 0; j < width; ++j) c[(r + i) * c_stride + k + j] -= sums[i][j];
      }
    }
  }
}

// … in parts of the depth.
void subtract_product(size_t rows, size_t columns, size_t depth, const double* x, size_t x_stride,
                      const double* y, size_t y_stride, double* c, size_t c_stride) {
  for (size_t d = 0; d < depth; d += kDepth) {
    subtract_part(rows, columns, std::min(kDepth, depth - d), x + d * x_stride, x_stride, y + d * y_stride,
                  y_stride, c, c_stride);
  }
}

// body(first, last) for tiles of the columns [0, end).
template <class Body>
void for_tiles(ThreadPool& pool, size_t end, const Body& body) {
  run_interruptible(pool, (end + kTile - 1) / kTile,
                    [&](size_t, size_t tile) { body(tile * kTile, std::min(end, (tile + 1) * kTile)); });
}

// a: symmetric positive definite, [n][n]. Leaves T lower triangular with Tᵀ T = a (Cholesky from the last row
// up), in double precision: Hessians of activations are nearly singular. By blocks of rows, so that a matrix
// of thousands of columns is read from memory once a block.
void lower_cholesky(std::vector<double>& a, size_t n, ThreadPool& pool) {
  const size_t blocks = (n + kBlock - 1) / kBlock;
  for (size_t block = blocks; block-- > 0;) {
    const size_t begin = block * kBlock, end = std::min(n, begin + kBlock);
    for_tiles(pool, end, [&](size_t first, size_t last) {
      const double* below = a.data() + end * n;
      subtract_product(end - begin, last - first, n - end, below + begin, n, below + first, n,
                       a.data() + begin * n + first, n);
    });
    for (size_t j = end; j-- > begin;) {
      double& pivot = a[j * n + j];
      pivot = std::sqrt(pivot);
      if (!(pivot > 0)) fail(ErrorCode::numeric, "second moments of {} inputs are not positive definite", n);
      for (size_t i = begin; i < j; ++i) {
        a[j * n + i] /= pivot;
        for (size_t k = begin; k <= i; ++k) a[i * n + k] -= a[j * n + i] * a[j * n + k];
      }
    }
    for_tiles(pool, begin, [&](size_t first, size_t last) {
      for (size_t j = end; j-- > begin;) {
        double* row = &a[j * n];
        for (size_t above = j + 1; above < end; ++above) {
          for (size_t k = first; k < last; ++k) row[k] -= a[above * n + j] * a[above * n + k];
        }
        for (size_t k = first; k < last; ++k) row[k] /= row[j];
      }
    });
  }
}

// The inverse of T, lower triangular, [n][n]; what is above its diagonal is not read.
std::vector<double> invert_lower(const std::vector<double>& t, size_t n, ThreadPool& pool) {
  std::vector<double> inverse(n * n, 0.0), transposed(n * kBlock);
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t end = std::min(n, begin + kBlock);
    for (size_t j = begin; j < end; ++j) {
      inverse[j * n + j] = 1;
      for (size_t i = 0; i < begin; ++i) transposed[i * kBlock + j - begin] = t[j * n + i];
    }
    for_tiles(pool, end, [&](size_t first, size_t last) {
      if (first < begin) {  // rows before `first` have nothing in these columns
        subtract_product(end - begin, last - first, begin - first, &transposed[first * kBlock], kBlock,
                         &inverse[first * n + first], n, &inverse[begin * n + first], n);
      }
      for (size_t j = begin; j < end; ++j) {
        double* row = &inverse[j * n];
        for (size_t i = begin; i < j; ++i) {
          for (size_t k = first; k < last; ++k) row[k] -= t[j * n + i] * inverse[i * n + k];
        }
        for (size_t k = first; k < last; ++k) row[k] /= t[j * n + j];
      }
    });
  }
  return inverse;
}

}  // namespace

Factors factorize(std::vector<float> moments, size_t width, ThreadPool& pool, float damping) {
  const size_t n = width;
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(moments[i * n + i]) / static_cast<double>(n);
  if (!std::isfinite(mean)) fail(ErrorCode::numeric, "second moments of {} inputs are not finite", n);
  const float ridge = damping * static_cast<float>(mean) + 1e-20f;
  for (size_t i = 0; i < n; ++i) moments[i * n + i] += ridge;
  std::vector<double> m(moments.begin(), moments.end());
  lower_cholesky(m, n, pool);
  // H = Tᵀ T, so H⁻¹ = T⁻¹ T⁻ᵀ and U = (T⁻¹)ᵀ.
  const std::vector<double> inverse = invert_lower(m, n, pool);
  Factors result{n, std::move(moments), std::vector<float>(n * n, 0.0f)};
  for_tiles(pool, n, [&](size_t first, size_t last) {
    for (size_t i = first; i < last; ++i) {
      for (size_t j = i; j < n; ++j) result.upper[i * n + j] = static_cast<float>(inverse[j * n + i]);
    }
  });
  return result;
}

Factors identity_factors(size_t width) {
  Factors factors{width, std::vector<float>(width * width, 0.0f), {}};
  for (size_t i = 0; i < width; ++i) factors.hessian[i * width + i] = 1;
  factors.upper = factors.hessian;
  return factors;
}

}  // namespace cairn::stack
