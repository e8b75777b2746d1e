#include "stack/factors.hpp"

#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace cairn::stack {
namespace {

// a: symmetric positive definite, [n][n]. Leaves M upper triangular with M Mᵀ = a (Cholesky from the last row
// up), in double precision: Hessians of activations are nearly singular.
void upper_cholesky(std::vector<double>& a, size_t n) {
  for (size_t j = n; j-- > 0;) {
    throw_if_interrupted();
    const double pivot = std::sqrt(a[j * n + j]);
    if (!(pivot > 0)) fail(ErrorCode::numeric, "second moments of {} inputs are not positive definite", n);
    a[j * n + j] = pivot;
    // Column j becomes the transposed row, so that the updates below run along rows.
    double* row = &a[j * n];
    for (size_t i = 0; i < j; ++i) row[i] /= pivot;
    for (size_t i = 0; i < j; ++i) {
      const double factor = row[i];
      double* to = &a[i * n];
      for (size_t k = 0; k <= i; ++k) to[k] -= factor * row[k];
    }
  }
}

}  // namespace

Factors factorize(std::vector<float> moments, size_t width, float damping) {
  const size_t n = width;
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(moments[i * n + i]) / static_cast<double>(n);
  if (!std::isfinite(mean)) fail(ErrorCode::numeric, "second moments of {} inputs are not finite", n);
  const float ridge = damping * static_cast<float>(mean) + 1e-20f;
  for (size_t i = 0; i < n; ++i) moments[i * n + i] += ridge;
  std::vector<double> m(moments.begin(), moments.end());
  upper_cholesky(m, n);  // m[j][i], i ≤ j, holds M[i][j]: the lower triangle is Mᵀ
  // H⁻¹ = M⁻ᵀ M⁻¹, so U = M⁻¹, upper triangular. L = Mᵀ is inverted by rows: L⁻¹ = Uᵀ.
  std::vector<double> inverse(n * n, 0.0);
  for (size_t j = 0; j < n; ++j) {
    throw_if_interrupted();
    double* row = &inverse[j * n];
    for (size_t i = 0; i < j; ++i) {
      const double factor = m[j * n + i];
      const double* from = &inverse[i * n];
      for (size_t k = 0; k <= i; ++k) row[k] -= factor * from[k];
    }
    const double pivot = m[j * n + j];
    row[j] = 1;
    for (size_t k = 0; k <= j; ++k) row[k] /= pivot;
  }
  Factors result{n, std::move(moments), std::vector<float>(n * n, 0.0f)};
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) result.upper[i * n + j] = static_cast<float>(inverse[j * n + i]);
  }
  return result;
}

Factors identity_factors(size_t width) {
  Factors factors{width, std::vector<float>(width * width, 0.0f), {}};
  for (size_t i = 0; i < width; ++i) factors.hessian[i * width + i] = 1;
  factors.upper = factors.hessian;
  return factors;
}

}  // namespace cairn::stack
