#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "formats/stack_file.hpp"

namespace cairn::stack {

// The values that codes of 1 to 7 bits stand for, in units of a row's standard deviation.
struct Tables {
  std::array<std::vector<float>, kPlanes + 1> values;  // [k], 2^k ascending; [0] is empty
  std::array<float, kPlanes + 1> units{};              // values[k] = units[k] · int8
  std::array<int8_t, kTableEntries> integers{};        // as a file holds them
  std::array<float, kPlanes + 1> distortion{};         // E[(x − value)²] of a standard normal x
};

// Nested Lloyd–Max quantisers of a normal distribution, rounded to int8: the cells of k bits are those of k −
// 1 bits cut in two at the point that is best for their own two halves (the cell of 1 bit at ±`first_cut`).
Tables gaussian_tables(double first_cut = 1.02);

// Units and integers as bytes, and values from them.
std::vector<std::byte> table_bytes(const Tables& tables);
void set_tables(std::span<const std::byte> bytes, Tables& tables);

}  // namespace cairn::stack
