#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "stack/factors.hpp"
#include "stack/spool.hpp"
#include "stack/tables.hpp"

namespace cairn::stack {

struct FitOptions {
  // Weight of each level's squared error (of its quantiser's own distortion) where codes are found together:
  // more for a level is less for the others. At 2 bits a quarter of all rows still have 1.
  std::array<float, kPlanes + 1> weights = {0, 0.2f, 1, 0.35f, 0.08f, 0.05f, 0.05f, 0.05f};
  unsigned passes = 1;  // of joint error feedback, the scales refitted after each; more gain nothing
  unsigned sweeps = 8;  // of coordinate descent after them
  unsigned table_rounds =
      6;  // of fitting the tables to how codes are chosen; 0: those of a normal distribution
};

// A matrix as nested codes.
struct FittedMatrix {
  uint32_t rows = 0, columns = 0;
  std::vector<uint8_t> codes;  // [rows][columns], kPlanes bits
  // [level][row]; level 0 is nothing at all. scales: halves, of int8 table values.
  std::array<std::vector<uint16_t>, kPlanes + 1> scales;
  std::array<std::vector<float>, kPlanes + 1> losses;  // e H eᵀ of the row's error e
};

// weights: [rows][columns], in the basis of the factors. Codes of all levels are found together: GPTQ (arXiv
// 2210.17323) with one track of error feedback for each level, then coordinate descent on Σ_k weight_k ·
// e_k H e_kᵀ. What is done of a long work is kept in `parts` (null: nowhere), and what is there already is
// not done again. Error cancelled after an interrupt.
FittedMatrix fit_matrix(std::span<const float> weights, uint32_t rows, uint32_t columns,
                        const Factors& factors, const Tables& tables, const FitOptions& options,
                        ThreadPool& pool, Spool* parts = nullptr);

// Rows that are fitted between two looks at what is kept: the work of some seconds.
size_t rows_of_part(uint32_t columns, size_t threads);

}  // namespace cairn::stack
