// Blocks of 256 in groups whose scales (and offsets) are small integers times one half: first each group's
// own fit, then the halves and integers that come nearest to it, each judged by the error that its codes
// have.
#pragma once

#include "base/half.hpp"
#include "kernels/quantizers/blocks.hpp"
#include "kernels/quantizers/weights.hpp"

namespace cairn::kernels::CAIRN_TARGET {

constexpr int kSuper = 256;

// Σ w (x − scale·q − offset)² of a group, a scale and an offset a lane.
template <class Book, int N>
HWY_INLINE F8 Errors(const float* x, const float* w, F8 scale, F8 offset) {
  const F8 inverse = scale != 0 ? 1 / scale : All(0);
  F8 sum{};
  for (int i = 0; i < N; ++i) {
    const F8 y = x[i] - offset, rest = y - Book::Value(y * inverse) * scale;
    sum += rest * rest * w[i];
  }
  return sum;
}

// What least squares needs of a group's codes: lanes are elements here.
struct Moments {
  float q1, q2, xq;  // Σ w q, Σ w q², Σ w x q
};
template <class Book, int N>
HWY_INLINE Moments MomentsOf(const float* x, const float* w, float scale, float offset) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  F8 q1{}, q2{}, xq{};
  for (size_t i = 0; i < N; i += kF8) {
    const F8 q = Book::Value((Load(x + i) - offset) * inverse), wq = q * Load(w + i);
    q1 += wq;
    q2 += wq * q;
    xq += wq * Load(x + i);
  }
  return {Sum(q1), Sum(q2), Sum(xq)};
}

template <int kGroups>
struct ScaledBlock {
  uint16_t d;
  int scales[kGroups];
  uint8_t codes[kSuper];
};

// w = d · scale · q, scales from kLeastScale to −kLeastScale − 1.
template <class Book, int kGroups, int kLeastScale>
HWY_INLINE void FitScaledBlock(const float* x, const float* importance, ScaledBlock<kGroups>& out) {
  constexpr int N = kSuper / kGroups;
  alignas(32) float w[kSuper];
  Weigh<kSuper>(x, importance, MeanSquare(x, kSuper), w);
  float fits[kGroups], most = 0;
  for (int g = 0; g < kGroups; ++g) {
    fits[g] = FitScale<Book, N>(x + g * N, w + g * N);
    most = __builtin_fabsf(fits[g]) > __builtin_fabsf(most) ? fits[g] : most;
  }
  out.d = to_half(most / kLeastScale);
  int scales[kGroups];
  uint16_t d = out.d;
  float least = 3e38f;
  for (int round = 0; round < 3; ++round) {
    const float unit = from_half(d), inverse = unit != 0 ? 1 / unit : 0;
    float error = 0, xq = 0, qq = 0;
    for (int g = 0; g < kGroups; ++g) {
      const F8 near = F8{0, 1, -1, 2, -2, 3, -3, 4} + Nearest(fits[g] * inverse);
      const F8 tried = Clamp(near, kLeastScale, -kLeastScale - 1);
      const F8 errors = Errors<Book, N>(x + g * N, w + g * N, tried * unit, All(0));
      const int lane = BestLane(-errors);
      error += errors[lane];
      scales[g] = static_cast<int>(tried[lane]);
      const Moments m = MomentsOf<Book, N>(x + g * N, w + g * N, tried[lane] * unit, 0);
      xq += tried[lane] * m.xq;
      qq += tried[lane] * tried[lane] * m.q2;
    }
    if (error < least) {
      least = error;
      out.d = d;
      for (int g = 0; g < kGroups; ++g) out.scales[g] = scales[g];
    }
    const uint16_t next = to_half(qq > 0 ? xq / qq : 0);
    if (next == d) break;
    d = next;
  }
  for (int g = 0; g < kGroups; ++g)
    Codes<Book>(x + g * N, from_half(out.d) * static_cast<float>(out.scales[g]), 0, N, out.codes + g * N);
}

template <int kGroups>
struct OffsetBlock {
  uint16_t d, dmin;
  uint8_t scales[kGroups], mins[kGroups], codes[kSuper];
};

// w = d · scale · q − dmin · min, scales and mins from 0 to kMostScale.
template <class Book, int kGroups, int kMostScale>
HWY_INLINE void FitOffsetBlock(const float* x, const float* importance, OffsetBlock<kGroups>& out) {
  constexpr int N = kSuper / kGroups;
  alignas(32) float w[kSuper];
  Weigh<kSuper>(x, importance, MeanSquare(x, kSuper), w);
  Line fits[kGroups];
  float most_scale = 0, most_min = 0, weight[kGroups], wx[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    fits[g] = FitLine<Book, N, false>(x + g * N, w + g * N);
    most_scale = fits[g].scale > most_scale ? fits[g].scale : most_scale;
    most_min = -fits[g].offset > most_min ? -fits[g].offset : most_min;
    F8 sum{}, product{};
    for (size_t i = 0; i < N; i += kF8) {
      sum += Load(w + g * N + i);
      product += Load(w + g * N + i) * Load(x + g * N + i);
    }
    weight[g] = Sum(sum);
    wx[g] = Sum(product);
  }
  uint16_t d = to_half(most_scale / kMostScale), dmin = to_half(most_min / kMostScale);
  float least = 3e38f;
  for (int round = 0; round < 4; ++round) {
    const float unit = from_half(d), unit_min = from_half(dmin);
    const float inverse = unit != 0 ? 1 / unit : 0, inverse_min = unit_min != 0 ? 1 / unit_min : 0;
    float scales[kGroups], mins[kGroups], error = 0;
    float ss = 0, sm = 0, mm = 0, xs = 0, xm = 0;  // sums of least squares for d and −dmin
    for (int g = 0; g < kGroups; ++g) {
      const float s = Nearest(fits[g].scale * inverse), m = Nearest(-fits[g].offset * inverse_min);
      float best = 3e38f;
      for (int half = 0; half < 2; ++half) {
        const F8 steps = half == 0 ? F8{0, 1, -1, 0, 1, -1, 0, 1} : F8{-1, 0, 1, -1, 0, 1, -1, 0};
        const F8 min_steps = half == 0 ? F8{0, 0, 0, 1, 1, 1, -1, -1} : F8{-1, 2, 2, 2, -2, -2, -2, 3};
        const F8 tried = Clamp(steps + s, 0, kMostScale), tried_min = Clamp(min_steps + m, 0, kMostScale);
        const F8 errors = Errors<Book, N>(x + g * N, w + g * N, tried * unit, tried_min * -unit_min);
        const int lane = BestLane(-errors);
        if (errors[lane] < best) {
          best = errors[lane];
          scales[g] = tried[lane];
          mins[g] = tried_min[lane];
        }
      }
      error += best;
      const Moments q = MomentsOf<Book, N>(x + g * N, w + g * N, scales[g] * unit, mins[g] * -unit_min);
      ss += scales[g] * scales[g] * q.q2;
      sm += scales[g] * mins[g] * q.q1;
      mm += mins[g] * mins[g] * weight[g];
      xs += scales[g] * q.xq;
      xm += mins[g] * wx[g];
    }
    if (error < least) {
      least = error;
      out.d = d;
      out.dmin = dmin;
      for (int g = 0; g < kGroups; ++g) {
        out.scales[g] = static_cast<uint8_t>(scales[g]);
        out.mins[g] = static_cast<uint8_t>(mins[g]);
      }
    }
    const float determinant = ss * mm - sm * sm;
    float next = determinant > 0 ? (mm * xs - sm * xm) / determinant : ss > 0 ? xs / ss : 0;
    float next_min = determinant > 0 ? (sm * xs - ss * xm) / determinant : 0;
    if (next_min < 0) next_min = 0;
    if (next < 0) next = 0;
    const uint16_t d_before = d, dmin_before = dmin;
    d = to_half(next);
    dmin = to_half(next_min);
    if (d == d_before && dmin == dmin_before) break;
  }
  for (int g = 0; g < kGroups; ++g)
    Codes<Book>(x + g * N, from_half(out.d) * out.scales[g], -from_half(out.dmin) * out.mins[g], N,
                out.codes + g * N);
}

}  // namespace cairn::kernels::CAIRN_TARGET
