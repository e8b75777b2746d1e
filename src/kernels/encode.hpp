// What encoding a stack spends its time on. Rows of a weight matrix are lanes: kStripRows of them at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

constexpr size_t kStripRows = 64;
constexpr unsigned kMostCodeBits = 7;

// Levels of nested codes of which one code is to be chosen: the top bits of a code of `last` bits are a code
// of first, first + 1, … bits.
struct NestedTables {
  unsigned first, last;                    // 1 ≤ first ≤ last ≤ kMostCodeBits
  const float* values[kMostCodeBits + 1];  // [k]: 2^k values, for first ≤ k ≤ last
  float weights[kMostCodeBits + 1];        // [k]
};

struct EncodeKernels {
  // c[i][r] += factor · Σ_j a[j][i] · b[j][r] for i in [0, m), j in [0, k), r in [0, kStripRows).
  // a: rows of a_stride floats, b of b_stride, c of c_stride.
  void (*multiply_add)(size_t m, size_t k, float factor, const float* a, size_t a_stride, const float* b,
                       size_t b_stride, float* c, size_t c_stride);
  // codes[r] = the code c that minimises Σ_k weights[k] · (targets[k][r] − values[k][c >> (last − k)])².
  // targets: [kMostCodeBits + 1][kStripRows], rows first … last are read.
  void (*choose)(const NestedTables& tables, const float* targets, int32_t* codes);
};

}  // namespace cairn::kernels
