#include "stack/fit.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/encode.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kRows = kernels::kStripRows;
constexpr size_t kBlock = 32;  // columns between two products with all that follow
using Lane = std::array<float, kRows>;

// kStripRows rows of a matrix, transposed: [column][row].
class Strip {
 public:
  Strip(const Factors& factors, const Tables& tables, const FitOptions& options)
      : n_(factors.width),
        factors_(factors),
        tables_(tables),
        options_(options),
        kernels_(kernels::encode_kernels(kernels::default_target())),
        weights_(n_ * kRows),
        target_(n_ * kRows),
        codes_(n_ * kRows) {
    for (unsigned k = 1; k <= kPlanes; ++k) {
      tracks_[k].resize(k >= options.first && k <= options.joint ? n_ * kRows : 0);
      change_[k].resize(kBlock * kRows);
    }
  }

  void run(std::span<const float> weights, size_t rows, FittedMatrix& out, size_t first_row) {
    load(weights, rows);
    std::fill(target_.begin(), target_.end(), 0.0f);
    product(weights_, target_);
    for (unsigned k = 1; k <= kPlanes; ++k) scales_[k] = deviation_;
    for (unsigned i = 0; i < options_.passes; ++i) {
      feed_back(options_.first, options_.joint);
      for (unsigned k = options_.first; k <= options_.joint; ++k) refit(k);
    }
    for (unsigned i = 0; i < options_.sweeps; ++i) {
      descend(options_.first, options_.joint);
      for (unsigned k = options_.first; k <= options_.joint; ++k) refit(k);
    }
    for (unsigned k = 1; k < options_.first; ++k) refit(k);
    for (unsigned k = options_.joint + 1; k <= kPlanes; ++k) {
      scales_[k] = scales_[k - 1];
      feed_back(k, k);
      refit(k);
      for (unsigned i = 0; i < options_.sweeps; ++i) {
        descend(k, k);
        refit(k);
      }
    }
    store(rows, out, first_row);
  }

 private:
  float* at(std::vector<float>& x, size_t column) { return x.data() + column * kRows; }
  unsigned shift(unsigned level) const { return kPlanes - level; }

  void load(std::span<const float> weights, size_t rows) {
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
  }

  // y += H x
  void product(const std::vector<float>& x, std::vector<float>& y) const {
    kernels_.multiply_add(n_, n_, 1.0f, factors_.hessian.data(), n_, x.data(), kRows, y.data(), kRows);
  }

  float value(unsigned level, size_t column, size_t r) const {
    return tables_.values[level][codes_[column * kRows + r] >> shift(level)] * scales_[level][r];
  }

  // The codes of a column for the given targets (in the rows' units): among all codes of `last` bits, or the
  // two children of each code of last − 1 bits where `last` is the only level.
  void choose(unsigned first, unsigned last, const std::array<Lane, 7>& targets, size_t column) {
    uint8_t* codes = codes_.data() + column * kRows;
    if (first != last || last <= options_.joint) {
      kernels::NestedTables nested{first, last, {}, {}};
      for (unsigned k = first; k <= last; ++k) {
        nested.values[k] = tables_.values[k].data();
        nested.weights[k] = options_.weights[k] / tables_.distortion[k];
      }
      std::array<int32_t, kRows> found;
      kernels_.choose(nested, targets[0].data(), found.data());
      for (size_t r = 0; r < kRows; ++r) codes[r] = static_cast<uint8_t>(found[r] << shift(last));
      return;
    }
    const std::vector<float>& values = tables_.values[last];
    for (size_t r = 0; r < kRows; ++r) {
      const unsigned child = codes[r] >> (shift(last) + 1) << 1;
      const float t = targets[last][r];
      const bool upper = std::abs(t - values[child + 1]) < std::abs(t - values[child]);
      codes[r] = static_cast<uint8_t>((child | (upper ? 1u : 0u)) << shift(last));
    }
  }

  // GPTQ over the columns, a track of corrected weights for each level.
  void feed_back(unsigned first, unsigned last) {
    for (unsigned k = first; k <= last; ++k) tracks_[k] = weights_;
    const float* upper = factors_.upper.data();
    std::array<Lane, 7> targets;
    for (size_t begin = 0; begin < n_; begin += kBlock) {
      const size_t count = std::min(kBlock, n_ - begin);
      for (size_t i = 0; i < count; ++i) {
        const size_t c = begin + i;
        for (unsigned k = first; k <= last; ++k) {
          const float* t = at(tracks_[k], c);
          for (size_t r = 0; r < kRows; ++r) targets[k][r] = t[r] / scales_[k][r];
        }
        choose(first, last, targets, c);
        const float inverse = 1 / upper[c * n_ + c];
        for (unsigned k = first; k <= last; ++k) {
          const float* t = at(tracks_[k], c);
          float* error = change_[k].data() + i * kRows;
          for (size_t r = 0; r < kRows; ++r) error[r] = (t[r] - value(k, c, r)) * inverse;
          kernels_.multiply_add(count - i - 1, 1, -1.0f, upper + c * n_ + c + 1, n_, error, kRows,
                                at(tracks_[k], c) + kRows, kRows);
        }
      }
      const size_t next = begin + count;
      for (unsigned k = first; next < n_ && k <= last; ++k) {
        kernels_.multiply_add(n_ - next, count, -1.0f, upper + begin * n_ + next, n_, change_[k].data(),
                              kRows, at(tracks_[k], next), kRows);
      }
    }
  }

  // One sweep of coordinate descent on Σ weight_k · e_k H e_kᵀ. tracks_ hold the gradients (W − V) H.
  void descend(unsigned first, unsigned last) {
    const float* h = factors_.hessian.data();
    std::array<Lane, 7> targets;
    for (unsigned k = first; k <= last; ++k) {
      std::vector<float> difference(n_ * kRows);
      for (size_t c = 0; c < n_; ++c) {
        for (size_t r = 0; r < kRows; ++r) {
          difference[c * kRows + r] = weights_[c * kRows + r] - value(k, c, r);
        }
      }
      tracks_[k].assign(n_ * kRows, 0.0f);
      product(difference, tracks_[k]);
    }
    for (size_t begin = 0; begin < n_; begin += kBlock) {
      const size_t count = std::min(kBlock, n_ - begin);
      for (size_t i = 0; i < count; ++i) {
        const size_t c = begin + i;
        const float inverse = 1 / h[c * n_ + c];
        for (unsigned k = first; k <= last; ++k) {
          const float* gradient = at(tracks_[k], c);
          float* before = change_[k].data() + i * kRows;
          for (size_t r = 0; r < kRows; ++r) {
            before[r] = value(k, c, r);
            targets[k][r] = (before[r] + gradient[r] * inverse) / scales_[k][r];
          }
        }
        choose(first, last, targets, c);
        for (unsigned k = first; k <= last; ++k) {
          float* change = change_[k].data() + i * kRows;
          for (size_t r = 0; r < kRows; ++r) change[r] = value(k, c, r) - change[r];
          kernels_.multiply_add(count - i - 1, 1, -1.0f, h + c * n_ + c + 1, n_, change, kRows,
                                at(tracks_[k], c) + kRows, kRows);
        }
      }
      const size_t next = begin + count;
      for (unsigned k = first; next < n_ && k <= last; ++k) {
        kernels_.multiply_add(n_ - next, count, -1.0f, h + begin * n_ + next, n_, change_[k].data(), kRows,
                              at(tracks_[k], next), kRows);
      }
    }
  }

  // The scale that minimises e H eᵀ for the codes at hand; leaves what is lost with it rounded to half.
  void refit(unsigned level) {
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

  void store(size_t rows, FittedMatrix& out, size_t first_row) const {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < n_; ++c) out.codes[(first_row + r) * n_ + c] = codes_[c * kRows + r];
      for (unsigned k = 0; k <= kPlanes; ++k) {
        if (k > 0) out.scales[k][first_row + r] = half_[k][r];
        out.losses[k][first_row + r] = losses_[k][r];
      }
    }
  }

  size_t n_;
  const Factors& factors_;
  const Tables& tables_;
  const FitOptions& options_;
  const kernels::EncodeKernels& kernels_;
  std::vector<float> weights_, target_;  // W and W H
  std::vector<uint8_t> codes_;  // kPlanes bits, those below a level's own are zero until it is chosen
  std::array<std::vector<float>, kPlanes + 1> tracks_, change_;
  std::vector<float> values_, moments_;
  Lane deviation_{};
  std::array<Lane, kPlanes + 1> scales_{}, losses_{};
  std::array<std::array<uint16_t, kRows>, kPlanes + 1> half_{};
};

}  // namespace

FittedMatrix fit_matrix(std::span<const float> weights, uint32_t rows, uint32_t columns,
                        const Factors& factors, const Tables& tables, const FitOptions& options,
                        ThreadPool& pool) {
  FittedMatrix out{rows, columns, std::vector<uint8_t>(size_t{rows} * columns), {}, {}};
  for (unsigned k = 0; k <= kPlanes; ++k) {
    if (k > 0) out.scales[k].resize(rows);
    out.losses[k].resize(rows);
  }
  pool.run((rows + kRows - 1) / kRows, [&](size_t, size_t index) {
    const size_t first = index * kRows, count = std::min<size_t>(kRows, rows - first);
    Strip(factors, tables, options).run(weights.subspan(first * columns, count * columns), count, out, first);
  });
  return out;
}

}  // namespace cairn::stack
