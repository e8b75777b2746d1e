#pragma once

#include <cstddef>
#include <vector>

#include "base/thread_pool.hpp"
#include "stack/panels.hpp"

namespace cairn::stack {

// What a matrix is fitted with: the second moments of its inputs and their factor.
struct Factors {
  size_t width = 0;
  Panels hessian;  // H = E[x xᵀ] + damping · mean(diagonal) · 1, [width][width]
  // T lower triangular with Tᵀ T = H, and above its diagonal what errors that are made are fed back by: at(j,
  // c) = T[c][j] / T[c][c] for j < c, so that e H eᵀ = Σ_c T[c][c]² · (e[c] + Σ_j<c e[j] · at(j, c))².
  Panels feedback;
};

// moments: E[x xᵀ], [width][width], consumed. An input that is always zero gets the damping's weight.
// The number of threads changes no bit. Errors: numeric (moments that are not finite), cancelled.
Factors factorize(std::vector<float> moments, size_t width, ThreadPool& pool, float damping = 0.01f);
// Of inputs of which nothing is known: H = T = 1.
Factors identity_factors(size_t width);

}  // namespace cairn::stack
