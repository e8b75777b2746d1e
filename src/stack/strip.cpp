#include "stack/strip.hpp"

#include <algorithm>
#include <cmath>

#include "base/half.hpp"
#include "base/interrupt.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kRows = kernels::kStripRows;
constexpr size_t kBlock = 32;  // columns between two products with all that follow

}  // namespace

Strip::Strip(const Factors& factors, const Tables& tables, const FitOptions& options,
             const kernels::EncodeKernels& kernels)
    : n_(factors.width),
      factors_(factors),
      tables_(tables),
      options_(options),
      kernels_(kernels),
      weights_(n_ * kRows),
      target_(n_ * kRows),
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
  std::fill(target_.begin(), target_.end(), 0.0f);
  product(weights_, target_);
  for (unsigned k = 1; k <= kPlanes; ++k) scales_[k] = deviation_;
}

void Strip::set_importance(std::span<const float> importance) {
  std::copy(importance.begin(), importance.end(), importance_.begin());
}

void Strip::product(const std::vector<float>& x, std::vector<float>& y) const {
  kernels_.multiply_add(n_, n_, 1.0f, factors_.hessian.data(), n_, x.data(), kRows, y.data(), kRows);
}

void Strip::choose(const std::array<Lane, kPlanes + 1>& targets, size_t column) {
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

void Strip::add(const std::array<Lane, kPlanes + 1>& targets, size_t column, float weight,
                CodeSums& sums) const {
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (size_t r = 0; r < rows_; ++r) {
      const float cost = weight * importance_[r] * scales_[k][r] * scales_[k][r];
      sums.moments[k][codes_[column * kRows + r] >> shift(k)].add(static_cast<double>(cost),
                                                                  static_cast<double>(targets[k][r]));
    }
  }
}

void Strip::refit_all() {
  for (unsigned k = 1; k <= kPlanes; ++k) refit(k);
}

void Strip::carry(const float* matrix, unsigned level, size_t block, size_t first, size_t last, size_t end) {
  if (last == end) return;
  kernels_.multiply_add(end - last, last - first, -1.0f, matrix + first * n_ + last, n_,
                        change_[level].data() + (first - block) * kRows, kRows, at(tracks_[level], last),
                        kRows);
}

void Strip::feed_back(CodeSums* sums, bool refits) {
  for (unsigned k = 1; k <= kPlanes; ++k) tracks_[k] = weights_;
  const float* upper = factors_.upper.data();
  std::array<Lane, kPlanes + 1> targets;
  for (size_t begin = 0; begin < n_ && !interrupted(); begin += kBlock) {
    const size_t count = std::min(kBlock, n_ - begin);
    for (size_t i = 0; i < count; ++i) {
      const size_t c = begin + i;
      for (unsigned k = 1; k <= kPlanes; ++k) {
        const float* t = at(tracks_[k], c);
        for (size_t r = 0; r < kRows; ++r) targets[k][r] = t[r] / scales_[k][r];
      }
      choose(targets, c);
      const float inverse = 1 / upper[c * n_ + c];
      if (sums != nullptr) add(targets, c, inverse * inverse, *sums);
      for (unsigned k = 1; k <= kPlanes; ++k) {
        const float* t = at(tracks_[k], c);
        float* error = change_[k].data() + i * kRows;
        for (size_t r = 0; r < kRows; ++r) error[r] = (t[r] - value(k, c, r)) * inverse;
        carry(upper, k, begin, c, c + 1, begin + count);
      }
    }
    for (unsigned k = 1; k <= kPlanes; ++k) carry(upper, k, begin, begin, begin + count, n_);
  }
  if (refits) refit_all();
}

// tracks_ hold the gradients (W − V) H.
void Strip::descend(CodeSums* sums, bool refits) {
  const float* h = factors_.hessian.data();
  std::array<Lane, kPlanes + 1> targets;
  std::vector<float> difference(n_ * kRows);
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (size_t c = 0; c < n_; ++c) {
      for (size_t r = 0; r < kRows; ++r) difference[c * kRows + r] = weights_[c * kRows + r] - value(k, c, r);
    }
    tracks_[k].assign(n_ * kRows, 0.0f);
    product(difference, tracks_[k]);
  }
  for (size_t begin = 0; begin < n_ && !interrupted(); begin += kBlock) {
    const size_t count = std::min(kBlock, n_ - begin);
    for (size_t i = 0; i < count; ++i) {
      const size_t c = begin + i;
      const float inverse = 1 / h[c * n_ + c];
      for (unsigned k = 1; k <= kPlanes; ++k) {
        const float* gradient = at(tracks_[k], c);
        float* before = change_[k].data() + i * kRows;
        for (size_t r = 0; r < kRows; ++r) {
          before[r] = value(k, c, r);
          targets[k][r] = (before[r] + gradient[r] * inverse) / scales_[k][r];
        }
      }
      choose(targets, c);
      if (sums != nullptr) add(targets, c, h[c * n_ + c], *sums);
      for (unsigned k = 1; k <= kPlanes; ++k) {
        float* change = change_[k].data() + i * kRows;
        for (size_t r = 0; r < kRows; ++r) change[r] = value(k, c, r) - change[r];
        carry(h, k, begin, c, c + 1, begin + count);
      }
    }
    for (unsigned k = 1; k <= kPlanes; ++k) carry(h, k, begin, begin, begin + count, n_);
  }
  if (refits) refit_all();
}

void Strip::refit(unsigned level) {
  values_.resize(n_ * kRows);
  for (size_t c = 0; c < n_; ++c) {
    for (size_t r = 0; r < kRows; ++r)
      values_[c * kRows + r] = tables_.values[level][codes_[c * kRows + r] >> shift(level)];
  }
  moments_.assign(n_ * kRows, 0.0f);
  product(values_, moments_);
  std::array<double, kRows> cross{}, square{}, whole{};
  for (size_t c = 0; c < n_; ++c) {
    for (size_t r = 0; r < kRows; ++r) {
      const size_t i = c * kRows + r;
      cross[r] += static_cast<double>(values_[i]) * static_cast<double>(target_[i]);
      square[r] += static_cast<double>(values_[i]) * static_cast<double>(moments_[i]);
      whole[r] += static_cast<double>(weights_[i]) * static_cast<double>(target_[i]);
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    const double d = static_cast<double>(deviation_[r]);
    const double best = std::clamp(cross[r] / std::max(square[r], 1e-30), 0.3 * d, 2 * d);
    half_[level][r] = to_half(static_cast<float>(best) * tables_.units[level]);
    const double s = static_cast<double>(from_half(half_[level][r]) / tables_.units[level]);
    scales_[level][r] = static_cast<float>(s);
    // Scales too small for a half would divide by zero: such a row is all but nothing.
    if (!(s > 0)) scales_[level][r] = static_cast<float>(best);
    losses_[level][r] = static_cast<float>(std::max(whole[r] - 2 * s * cross[r] + s * s * square[r], 0.0));
    losses_[0][r] = static_cast<float>(whole[r]);
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
