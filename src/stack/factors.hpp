#pragma once

#include <cstddef>
#include <vector>

#include "base/thread_pool.hpp"

namespace cairn::stack {

// What a matrix is fitted with: the second moments of its inputs and their factor.
struct Factors {
  size_t width = 0;
  std::vector<float> hessian;  // H = E[x xᵀ] + damping · mean(diagonal) · 1, [width][width]
  std::vector<float> upper;    // U upper triangular, Uᵀ U = H⁻¹, [width][width]
};

// moments: E[x xᵀ], [width][width], consumed. An input that is always zero gets the damping's weight.
// The number of threads changes no bit. Errors: numeric (moments that are not finite), cancelled.
Factors factorize(std::vector<float> moments, size_t width, ThreadPool& pool, float damping = 0.01f);
// Of inputs of which nothing is known: H = U = 1.
Factors identity_factors(size_t width);

}  // namespace cairn::stack
