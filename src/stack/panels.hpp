// A matrix in panels of kPanel columns. A panel's rows lie one after another, so that products with some of
// its rows read memory in order, and from few pages, however wide the matrix is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/encode.hpp"

namespace cairn::stack {

constexpr size_t kPanel = 24;  // columns: a multiple of those that multiply_add has in registers

class Panels {
 public:
  Panels() = default;
  // Zeros.
  Panels(size_t rows, size_t columns)
      : rows_(rows), columns_(columns), data_((columns + kPanel - 1) / kPanel * kPanel * rows) {}

  size_t rows() const noexcept { return rows_; }
  size_t columns() const noexcept { return columns_; }
  float& at(size_t row, size_t column) { return data_[index(row, column)]; }
  float at(size_t row, size_t column) const { return data_[index(row, column)]; }

  // c[i − begin][r] += Σ_j at(j, i) · b[j − first][r] for columns i of [begin, end), rows j of [first, last)
  // and r < kernels::kStripRows. b: rows of kernels::kStripRows floats, c of c_stride.
  void multiply_add(const kernels::EncodeKernels& kernels, size_t begin, size_t end, size_t first,
                    size_t last, const float* b, float* c, size_t c_stride = kernels::kStripRows) const {
    if (first == last) return;
    for_panels(begin, end, [&](size_t from, size_t to) {
      kernels.multiply_add(to - from, last - first, 1.0f, &data_[index(first, from)], kPanel, b,
                           kernels::kStripRows, c + (from - begin) * c_stride, c_stride);
    });
  }

  // body(from, to) for the part of each panel that is within columns [begin, end).
  template <class Body>
  static void for_panels(size_t begin, size_t end, const Body& body) {
    for (size_t from = begin; from < end;) {
      const size_t to = std::min(end, (from / kPanel + 1) * kPanel);
      body(from, to);
      from = to;
    }
  }

 private:
  size_t index(size_t row, size_t column) const noexcept {
    return (column / kPanel * rows_ + row) * kPanel + column % kPanel;
  }

  size_t rows_ = 0, columns_ = 0;
  std::vector<float> data_;
};

}  // namespace cairn::stack
