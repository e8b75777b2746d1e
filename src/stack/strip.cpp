#include "stack/strip.hpp"

#include <algorithm>
#include <cmath>

#include "base/half.hpp"
#include "base/interrupt.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kRows = kernels::kStripRows;
constexpr size_t kBlock = 4 * kPanel;  // columns between two products with all others

}  // namespace

Strip::Strip(const Factors& factors, const Tables& tables, const FitOptions& options,
             const kernels::EncodeKernels& kernels)
    : n_(factors.width),
      factors_(factors),
      tables_(tables),
      options_(options),
      kernels_(kernels),
      weights_(n_ * kRows),
      ahead_(n_ * kRows),
      codes_(n_ * kRows) {
  for (unsigned k = 1; k <= kPlanes; ++k) change_[k].resize(kBlock * kRows);
  importance_.fill(1);
}

void Strip::start(std::span<const float> weights, size_t rows) {
  rows_ = rows;
  std::fill(weights_.begin(), weights_.end(), 0.0f);
  for (size_t r = 0; r < kRows; ++r) {
    double sum = 0;
    for (size_t c = 0; r < rows && c < n_; ++c) {
      const float w = weights[r * n_ + c];
      weights_[c * kRows + r] = w;
      sum += static_cast<double>(w) * static_cast<double>(w);
    }
    deviation_[r] = std::max(static_cast<float>(std::sqrt(sum / static_cast<double>(n_))), 1e-12f);
  }
  std::fill(codes_.begin(), codes_.end(), uint8_t{0});
  target_.clear();
  descending_ = false;
  look_ahead();
  for (unsigned k = 1; k <= kPlanes; ++k) {
    scales_[k] = deviation_;
    for (size_t r = 0; r < kRows; ++r) inverse_[k][r] = 1 / deviation_[r];
  }
}

void Strip::set_importance(std::span<const float> importance) {
  std::copy(importance.begin(), importance.end(), importance_.begin());
}

void Strip::product(const Panels& matrix, size_t begin, size_t end, size_t first, size_t last,
                    const std::vector<float>& x, std::vector<float>& y) const {
  for (size_t j = first; j < last; j += kBlock) {
    matrix.multiply_add(kernels_, begin, end, j, std::min(last, j + kBlock), x.data() + j * kRows,
                        y.data() + begin * kRows);
  }
}

void Strip::look_ahead() {
  ahead_ = weights_;
  whole_.fill(0);
  for (size_t j = 0; j < n_; j += kBlock)
    product(factors_.feedback, std::min(n_, j + kBlock), n_, j, std::min(n_, j + kBlock), weights_, ahead_);
  for (size_t c = 0; c < n_; ++c) {
    product(factors_.feedback, c, c + 1, c / kBlock * kBlock, c, weights_, ahead_);
    const float pivot = factors_.feedback.at(c, c);
    for (size_t r = 0; r < kRows; ++r) {
      const auto z = static_cast<double>(pivot * ahead_[c * kRows + r]);
      whole_[r] += z * z;
    }
  }
}

void Strip::choose(const Lanes& targets, size_t column) {
  kernels::NestedTables nested{1, kPlanes, {}, {}};
  for (unsigned k = 1; k <= kPlanes; ++k) {
    nested.values[k] = tables_.values[k].data();
    nested.weights[k] = options_.weights[k] / tables_.distortion[k];
  }
  std::array<int32_t, kRows> found;
  kernels_.choose(nested, targets[0].data(), found.data());
  uint8_t* codes = codes_.data() + column * kRows;
  for (size_t r = 0; r < kRows; ++r) codes[r] = static_cast<uint8_t>(found[r]);
}

void Strip::add(const Lanes& targets, size_t column, float weight, CodeSums& sums) const {
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (size_t r = 0; r < rows_; ++r) {
      const float cost = weight * importance_[r] * scales_[k][r] * scales_[k][r];
      sums.moments[k][codes_[column * kRows + r] >> shift(k)].add(static_cast<double>(cost),
                                                                  static_cast<double>(targets[k][r]));
    }
  }
}

// Panel by panel, so that what reaches one is read from memory once for all levels.
void Strip::carry(const Panels& matrix, size_t block, size_t first, size_t last, size_t begin, size_t end) {
  Panels::for_panels(begin, end, [&](size_t from, size_t to) {
    for (unsigned k = 1; k <= kPlanes; ++k) {
      matrix.multiply_add(kernels_, from, to, first, last, change_[k].data() + (first - block) * kRows,
                          at(tracks_[k], from));
    }
  });
}

// With T of factors_.feedback, e H eᵀ = ‖T e‖², and row c of T W and of T V is at hand where the code of
// column c is chosen: what scales are refitted with costs no product.
void Strip::feed_back(CodeSums* sums, bool refits) {
  const Panels& feedback = factors_.feedback;
  descending_ = false;
  for (unsigned k = 1; k <= kPlanes; ++k) tracks_[k].assign(n_ * kRows, 0.0f);
  std::array<Products, kPlanes + 1> products;
  Lanes targets;
  for (size_t begin = 0; begin < n_ && !interrupted(); begin += kBlock) {
    const size_t end = std::min(n_, begin + kBlock);
    for (size_t c = begin; c < end; ++c) {
      if (c % kPanel == 0) carry(feedback, begin, begin, c, c, std::min(c + kPanel, end));
      carry(feedback, begin, c / kPanel * kPanel, c, c, c + 1);
      const float* ahead = at(ahead_, c);
      for (unsigned k = 1; k <= kPlanes; ++k) {
        const float* fed = at(tracks_[k], c);
        for (size_t r = 0; r < kRows; ++r) targets[k][r] = ahead[r] * inverse_[k][r] - fed[r];
      }
      choose(targets, c);
      const float pivot = feedback.at(c, c);
      if (sums != nullptr) add(targets, c, pivot * pivot, *sums);
      for (unsigned k = 1; k <= kPlanes; ++k) {
        const float* fed = at(tracks_[k], c);
        float* chosen = change_[k].data() + (c - begin) * kRows;
        for (size_t r = 0; r < kRows; ++r) {
          chosen[r] = value(k, c, r);
          const auto tv = static_cast<double>(pivot * (chosen[r] + fed[r]));
          products[k].cross[r] += tv * static_cast<double>(pivot * ahead[r]);
          products[k].square[r] += tv * tv;
        }
      }
    }
    carry(feedback, begin, begin, end, end, n_);
  }
  for (unsigned k = 1; k <= kPlanes && refits; ++k) refit(k, products[k]);
}

void Strip::begin_descent() {
  if (target_.empty()) {
    target_.assign(n_ * kRows, 0.0f);
    product(factors_.hessian, 0, n_, 0, n_, weights_, target_);
  }
  std::vector<float> values(n_ * kRows);
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (size_t c = 0; c < n_; ++c) {
      for (size_t r = 0; r < kRows; ++r) values[c * kRows + r] = value(k, c, r);
    }
    tracks_[k].assign(n_ * kRows, 0.0f);
    product(factors_.hessian, 0, n_, 0, n_, values, tracks_[k]);
  }
}

void Strip::descend(CodeSums* sums, bool refits) {
  const Panels& h = factors_.hessian;
  if (!descending_) begin_descent();
  Lanes targets;
  for (size_t begin = 0; begin < n_ && !interrupted(); begin += kBlock) {
    const size_t end = std::min(n_, begin + kBlock);
    for (size_t c = begin; c < end; ++c) {
      if (c % kPanel == 0) carry(h, begin, begin, c, c, std::min(c + kPanel, end));
      carry(h, begin, c / kPanel * kPanel, c, c, c + 1);
      const float* target = at(target_, c);
      const float inverse = 1 / h.at(c, c);
      for (unsigned k = 1; k <= kPlanes; ++k) {
        const float* product = at(tracks_[k], c);
        float* before = change_[k].data() + (c - begin) * kRows;
        for (size_t r = 0; r < kRows; ++r) {
          before[r] = value(k, c, r);
          targets[k][r] = before[r] + (target[r] * inverse_[k][r] - product[r]) * inverse;
        }
      }
      choose(targets, c);
      if (sums != nullptr) add(targets, c, h.at(c, c), *sums);
      for (unsigned k = 1; k <= kPlanes; ++k) {
        float* change = change_[k].data() + (c - begin) * kRows;
        for (size_t r = 0; r < kRows; ++r) change[r] = value(k, c, r) - change[r];
      }
    }
    // What changed has reached the later columns of the block only.
    for (size_t c = begin; c < end; ++c)
      carry(h, begin, c, std::min(end, (c / kPanel + 1) * kPanel), c, c + 1);
    Panels::for_panels(begin, end, [&](size_t from, size_t to) { carry(h, begin, to, end, from, to); });
    carry(h, begin, begin, end, 0, begin);
    carry(h, begin, begin, end, end, n_);
  }
  descending_ = sums == nullptr;
  for (unsigned k = 1; k <= kPlanes && refits; ++k) {
    Products products;
    for (size_t c = 0; c < n_; ++c) {
      for (size_t r = 0; r < kRows; ++r) {
        const auto v = static_cast<double>(value(k, c, r));
        products.cross[r] += v * static_cast<double>(target_[c * kRows + r]);
        products.square[r] += v * static_cast<double>(tracks_[k][c * kRows + r]);
      }
    }
    refit(k, products);
  }
}

void Strip::refit(unsigned level, const Products& products) {
  for (size_t r = 0; r < kRows; ++r) {
    const double cross = products.cross[r], square = products.square[r];
    const double d = static_cast<double>(deviation_[r]);
    const double best = std::clamp(cross / std::max(square, 1e-30), 0.3 * d, 2 * d);
    half_[level][r] = to_half(static_cast<float>(best) * tables_.units[level]);
    const double s = static_cast<double>(from_half(half_[level][r]) / tables_.units[level]);
    scales_[level][r] = static_cast<float>(s);
    // Scales too small for a half would divide by zero: such a row is all but nothing.
    if (!(s > 0)) scales_[level][r] = static_cast<float>(best);
    inverse_[level][r] = 1 / scales_[level][r];
    losses_[level][r] = static_cast<float>(std::max(whole_[r] - 2 * s * cross + s * s * square, 0.0));
    losses_[0][r] = static_cast<float>(whole_[r]);
  }
}

void Strip::store(FittedMatrix& out, size_t first_row) const {
  for (size_t r = 0; r < rows_; ++r) {
    for (size_t c = 0; c < n_; ++c) out.codes[(first_row + r) * n_ + c] = codes_[c * kRows + r];
    for (unsigned k = 0; k <= kPlanes; ++k) {
      if (k > 0) out.scales[k][first_row + r] = half_[k][r];
      out.losses[k][first_row + r] = losses_[k][r];
    }
  }
}

}  // namespace cairn::stack
