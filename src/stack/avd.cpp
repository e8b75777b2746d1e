#include "stack/avd.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.hpp"
#include "base/interruptible.hpp"
#include "base/random.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kRank = kAvdRank;
constexpr size_t kWide = kRank + 8;  // of the subspace: more than asked for converges faster

// Orthonormal columns of x [n][wide] by Gram–Schmidt, twice; a column that depends on the others becomes
// zero.
void orthonormalize(std::vector<float>& x, size_t n, size_t wide) {
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t j = 0; j < wide; ++j) {
      std::vector<double> dots(j + 1, 0.0);
      for (size_t i = 0; i < n; ++i) {
        const double v = static_cast<double>(x[i * wide + j]);
        for (size_t k = 0; k <= j; ++k) dots[k] += v * static_cast<double>(x[i * wide + k]);
      }
      double left = dots[j];
      for (size_t k = 0; k < j; ++k) left -= dots[k] * dots[k];
      const double scale = left > 1e-12 * dots[j] && left > 0 ? 1 / std::sqrt(left) : 0;
      for (size_t i = 0; i < n; ++i) {
        double v = static_cast<double>(x[i * wide + j]);
        for (size_t k = 0; k < j; ++k) v -= dots[k] * static_cast<double>(x[i * wide + k]);
        x[i * wide + j] = static_cast<float>(v * scale);
      }
    }
  }
}

// y [rows][wide] = |a| x, x [columns][wide]
void times(const std::vector<float>& a, size_t rows, size_t columns, const std::vector<float>& x, size_t wide,
           std::vector<float>& y, ThreadPool& pool) {
  y.assign(rows * wide, 0.0f);
  run_interruptible(pool, rows, [&](size_t, size_t r) {
    float* to = y.data() + r * wide;
    for (size_t c = 0; c < columns; ++c) {
      const float w = std::abs(a[r * columns + c]);
      for (size_t k = 0; k < wide; ++k) to[k] += w * x[c * wide + k];
    }
  });
}

// y [columns][wide] = |a|ᵀ x, x [rows][wide]
void times_transposed(const std::vector<float>& a, size_t rows, size_t columns, const std::vector<float>& x,
                      size_t wide, std::vector<float>& y, ThreadPool& pool) {
  constexpr size_t kPart = 64;  // columns
  y.assign(columns * wide, 0.0f);
  run_interruptible(pool, (columns + kPart - 1) / kPart, [&](size_t, size_t part) {
    const size_t end = std::min(columns, (part + 1) * kPart);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = part * kPart; c < end; ++c) {
        const float w = std::abs(a[r * columns + c]);
        for (size_t k = 0; k < wide; ++k) y[c * wide + k] += w * x[r * wide + k];
      }
    }
  });
}

// Eigenvectors of a symmetric matrix [n][n] by Jacobi's rotations, largest eigenvalue first: vectors[i][j] is
// component i of vector j.
void eigenvectors(std::vector<double> a, size_t n, std::vector<double>& values,
                  std::vector<double>& vectors) {
  vectors.assign(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) vectors[i * n + i] = 1;
  for (int sweep = 0; sweep < 30; ++sweep) {
    for (size_t p = 0; p < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) {
        const double off = a[p * n + q];
        if (std::abs(off) <= 1e-15 * std::sqrt(std::abs(a[p * n + p] * a[q * n + q]))) continue;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * off);
        const double t = std::copysign(1 / (std::abs(theta) + std::hypot(theta, 1)), theta);
        const double c = 1 / std::hypot(t, 1), s = t * c;
        for (size_t k = 0; k < n; ++k) {
          const double x = a[k * n + p], y = a[k * n + q];
          a[k * n + p] = c * x - s * y;
          a[k * n + q] = s * x + c * y;
        }
        for (size_t k = 0; k < n; ++k) {
          const double x = a[p * n + k], y = a[q * n + k];
          a[p * n + k] = c * x - s * y;
          a[q * n + k] = s * x + c * y;
          const double v = vectors[k * n + p], w = vectors[k * n + q];
          vectors[k * n + p] = c * v - s * w;
          vectors[k * n + q] = s * v + c * w;
        }
      }
    }
  }
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return a[i * n + i] > a[j * n + j]; });
  const std::vector<double> found = vectors;
  values.resize(n);
  for (size_t j = 0; j < n; ++j) {
    values[j] = std::max(a[order[j] * n + order[j]], 0.0);
    for (size_t i = 0; i < n; ++i) vectors[i * n + j] = found[i * n + order[j]];
  }
}

// u [rows][kRank], v [columns][kRank] with u vᵀ the best approximation of |a| of that rank, the singular
// values' roots in both.
void leading_factors(const std::vector<float>& a, size_t rows, size_t columns, unsigned iterations,
                     std::vector<float>& u, std::vector<float>& v, ThreadPool& pool) {
  const size_t wide = std::min({kWide, rows, columns}), rank = std::min(kRank, wide);
  SplitMix64 random(1);
  std::vector<float> x(columns * wide), y;
  for (float& value : x) value = static_cast<float>(random.next() >> 40) / 16777216.0f - 0.5f;
  for (unsigned i = 0; i <= iterations; ++i) {
    times(a, rows, columns, x, wide, y, pool);
    orthonormalize(y, rows, wide);
    times_transposed(a, rows, columns, y, wide, x, pool);
    if (i < iterations) orthonormalize(x, columns, wide);
  }
  // x = |a|ᵀ y: its Gram matrix has the squared singular values.
  std::vector<double> gram(wide * wide, 0.0), values, vectors;
  for (size_t c = 0; c < columns; ++c) {
    for (size_t i = 0; i < wide; ++i) {
      for (size_t j = 0; j < wide; ++j)
        gram[i * wide + j] += static_cast<double>(x[c * wide + i]) * static_cast<double>(x[c * wide + j]);
    }
  }
  eigenvectors(gram, wide, values, vectors);
  u.assign(rows * kRank, 0.0f);
  v.assign(columns * kRank, 0.0f);
  for (size_t k = 0; k < rank; ++k) {
    const double root = std::sqrt(std::sqrt(values[k]));  // of the singular value
    if (!(root > 0)) continue;
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (size_t i = 0; i < wide; ++i) sum += static_cast<double>(y[r * wide + i]) * vectors[i * wide + k];
      u[r * kRank + k] = static_cast<float>(sum * root);
    }
    for (size_t c = 0; c < columns; ++c) {
      double sum = 0;
      for (size_t i = 0; i < wide; ++i) sum += static_cast<double>(x[c * wide + i]) * vectors[i * wide + k];
      v[c * kRank + k] = static_cast<float>(sum / root);
    }
  }
}

void round_to_half(std::vector<float>& values, std::byte* out) {
  for (float& value : values) {
    const uint16_t half = to_half(std::clamp(value, -65504.0f, 65504.0f));
    std::memcpy(out, &half, sizeof half);
    out += sizeof half;
    value = from_half(half);
  }
}

float dot(const float* a, const float* b) {
  float sum = 0;
  for (size_t k = 0; k < kRank; ++k) sum += a[k] * b[k];
  return sum;
}

}  // namespace

std::vector<std::vector<std::byte>> avd_blocks(std::span<const float> weights, uint32_t rows,
                                               uint32_t columns, std::span<const float> column_scales,
                                               const AvdOptions& options, ThreadPool& pool,
                                               std::vector<double>& losses) {
  std::vector<float> left(weights.begin(), weights.end()), u, v, s(columns, 1.0f);
  std::copy(column_scales.begin(), column_scales.end(), s.begin());
  std::vector<std::byte> halves(columns * sizeof(uint16_t));
  round_to_half(s, halves.data());
  std::vector<double> row_losses(rows);
  const auto sum_losses = [&] {
    run_interruptible(pool, rows, [&](size_t, size_t r) {
      row_losses[r] = 0;
      for (size_t c = 0; c < columns; ++c)
        row_losses[r] +=
            static_cast<double>(left[r * columns + c]) * static_cast<double>(left[r * columns + c]);
    });
    double sum = 0;
    for (const double loss : row_losses) sum += loss;
    losses.push_back(sum);
  };
  for (size_t i = 0; i < left.size(); ++i) left[i] *= s[i % columns];
  sum_losses();
  std::vector<std::vector<std::byte>> blocks;
  const Matrix shape{{}, rows, columns, rows, false, Encoding::f32, {}};
  const size_t sign_bytes = (left.size() + 7) / 8;
  for (uint8_t level = 1; level <= options.levels; ++level) {
    std::vector<std::byte> block(block_bytes(shape, Codec::avd, 0, level));
    for (size_t i = 0; i < left.size(); ++i) {
      if (!(left[i] < 0)) block[i / 8] |= static_cast<std::byte>(1u << (i % 8));
    }
    leading_factors(left, rows, columns, options.iterations, u, v, pool);
    // The residual is taken from the rounded factors: the next level then repairs their rounding too.
    round_to_half(u, block.data() + sign_bytes);
    round_to_half(v, block.data() + sign_bytes + u.size() * 2);
    if (level == 1)
      std::memcpy(block.data() + sign_bytes + (u.size() + v.size()) * 2, halves.data(), halves.size());
    run_interruptible(pool, rows, [&](size_t, size_t r) {
      for (size_t c = 0; c < columns; ++c) {
        float& w = left[r * columns + c];
        const float magnitude = dot(&u[r * kRank], &v[c * kRank]);
        w -= w < 0 ? -magnitude : magnitude;
      }
    });
    sum_losses();
    blocks.push_back(std::move(block));
  }
  return blocks;
}

AvdSum::AvdSum(uint32_t rows, uint32_t columns)
    : rows_(rows), columns_(columns), sum_(size_t{rows} * columns), column_scales_(columns, 1.0f) {}

void AvdSum::add(std::span<const std::byte> block, uint8_t level, ThreadPool& pool) {
  const size_t sign_bytes = (sum_.size() + 7) / 8;
  const std::byte* next = block.data() + sign_bytes;
  const auto take_halves = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) {
      uint16_t half = 0;
      std::memcpy(&half, next, sizeof half);
      next += sizeof half;
      value = from_half(half);
    }
    return values;
  };
  const std::vector<float> u = take_halves(rows_ * kRank), v = take_halves(columns_ * kRank);
  if (level == 1) column_scales_ = take_halves(columns_);
  run_interruptible(pool, rows_, [&](size_t, size_t r) {
    for (size_t c = 0; c < columns_; ++c) {
      const size_t i = r * columns_ + c;
      const bool positive = (std::to_integer<unsigned>(block[i / 8]) >> (i % 8) & 1) != 0;
      const float magnitude = dot(&u[r * kRank], &v[c * kRank]);
      sum_[i] += positive ? magnitude : -magnitude;
    }
  });
}

std::vector<float> AvdSum::take() {
  for (size_t i = 0; i < sum_.size(); ++i) {
    const float s = column_scales_[i % columns_];
    sum_[i] = s > 0 ? sum_[i] / s : 0;
  }
  return std::move(sum_);
}

}  // namespace cairn::stack
