// IQ2 and IQ3: blocks of 256 whose numbers are points of a grid times a scale, signs apart. Scales as in
// super_blocks.hpp: each group's own fit, then the half and the small integers that come nearest to it.
#pragma once

#include "kernels/quantizers/grid_points.hpp"
#include "kernels/quantizers/super_blocks.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// w = d · unit · (2 · scale + 1) · ±value.
struct GridFormat {
  int group;  // numbers that share a scale: 32 or 16
  float unit;
  bool even_signs;            // of each eight an even number is negative: seven signs are kept
  bool exact;                 // the grid is small enough to look at all of it in the end
  float least_top, most_top;  // where a group's largest number comes to lie, of the largest value
};
constexpr int kMostGridScale = 15;

struct GridBlock {
  uint16_t d;
  uint8_t scales[16], signs[32];
  uint16_t points[64];  // of each eight or four
};

struct Fitted {
  float xq, qq;  // Σ w x q, Σ w q²
};

template <int D>
HWY_INLINE Fitted FitPoints(const GridSearch& grid, const float* x, const float* w, int count,
                            float inverse) {
  F8 xq{}, qq{};
  uint16_t points[8 / D];
  for (int i = 0; i < count; i += 8) {
    const F8 q = NearestPoints<D>(grid, Load(x + i) * inverse, w + i, points), wq = q * Load(w + i);
    xq += wq * Load(x + i);
    qq += wq * q;
  }
  return {Sum(xq), Sum(qq)};
}

// The scale that comes nearest, of a group's sizes.
template <int D>
HWY_INLINE float FitGridScale(const GridSearch& grid, const GridFormat& format, const float* x,
                              const float* w) {
  constexpr int kTops = 12, kRefinements = 2;
  float most = 0;
  for (int i = 0; i < format.group; ++i) most = x[i] > most ? x[i] : most;
  if (most < kNothing) return 0;
  float best = 0, gain = -1;
  const auto look = [&](float inverse) __attribute__((always_inline)) {
    const Fitted f = FitPoints<D>(grid, x, w, format.group, inverse);
    if (f.qq > 0 && f.xq > 0 && f.xq * f.xq > gain * f.qq) gain = f.xq * f.xq / f.qq, best = f.xq / f.qq;
  };
  const float largest = grid.values[grid.levels - 1];
  const float step = (format.most_top - format.least_top) / (kTops - 1);
  for (int i = 0; i < kTops; ++i) look((format.least_top + step * static_cast<float>(i)) * largest / most);
  for (int i = 0; i < kRefinements && best > 0; ++i) look(1 / best);
  return best;
}

// Sizes, signs as bits, and where signs are to be even, the number turned that costs least by itself.
HWY_INLINE void SplitSigns(const float* x, const float* w, bool even, float* sizes, uint8_t* signs) {
  for (int e = 0; e < kSuper / 8; ++e) {
    int negative = 0, least = 0;
    for (int i = 8 * e; i < 8 * e + 8; ++i) {
      negative |= (x[i] < 0) << (i % 8);
      sizes[i] = __builtin_fabsf(x[i]);
      if (w[i] * x[i] * x[i] < w[8 * e + least] * x[8 * e + least] * x[8 * e + least]) least = i % 8;
    }
    if (even && __builtin_popcount(static_cast<unsigned>(negative)) % 2 != 0) {
      sizes[8 * e + least] = -sizes[8 * e + least];
      negative ^= 1 << least;
    }
    signs[e] = static_cast<uint8_t>(negative);
  }
}

// The points and signs of a group for its scale.
template <int D>
HWY_INLINE void ChoosePoints(const GridSearch& grid, const GridFormat& format, const float* x, const float* w,
                             float scale, uint16_t* points, uint8_t* signs) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (int i = 0; i < format.group; i += 8, points += 8 / D, ++signs) {
    alignas(32) float y[8];
    int negative = 0;
    for (int j = 0; j < 8; ++j) {
      negative |= (x[i + j] < 0) << j;
      y[j] = __builtin_fabsf(x[i + j]) * inverse;
    }
    const bool odd = format.even_signs && __builtin_popcount(static_cast<unsigned>(negative)) % 2 != 0;
    if (!format.exact) {  // no format that is both inexact and even
      NearestPoints<D>(grid, Load(y), w + i, points);
    } else if (D == 8) {
      const Choice best = BestPoint<D>(grid, y, w + i, odd);
      points[0] = static_cast<uint16_t>(best.point);
      if (odd) negative ^= 1 << best.flipped;
    } else {
      const Choice a = BestPoint<D>(grid, y, w + i, false), b = BestPoint<D>(grid, y + D, w + i + D, false);
      points[0] = static_cast<uint16_t>(a.point);
      points[8 / D - 1] = static_cast<uint16_t>(b.point);
      if (odd) {
        const Choice af = BestPoint<D>(grid, y, w + i, true), bf = BestPoint<D>(grid, y + D, w + i + D, true);
        const bool first = af.cost + b.cost < a.cost + bf.cost;
        points[first ? 0 : 8 / D - 1] = static_cast<uint16_t>(first ? af.point : bf.point);
        negative ^= 1 << (first ? af.flipped : D + bf.flipped);
      }
    }
    *signs = static_cast<uint8_t>(negative);
  }
}

// The half and each group's integer that come nearest to the groups' own scales `fits`, judged by the error
// that the groups' points then have: fit(group, inverse scale).
template <class Fit>
HWY_INLINE void ChooseScales(const float* fits, int groups, int most_scale, float unit, const Fit& fit,
                             uint16_t& d, uint8_t* scales) {
  float most = 0;
  for (int g = 0; g < groups; ++g) most = fits[g] > most ? fits[g] : most;
  uint16_t tried = to_half(most / (static_cast<float>(2 * most_scale + 1) * unit));
  d = tried;
  for (int g = 0; g < groups; ++g) scales[g] = 0;
  float least = 3e38f;
  for (int round = 0; round < 3 && from_half(tried) > 0; ++round) {
    const float step = from_half(tried) * unit;
    uint8_t best_scales[16];
    float error = 0, xq = 0, qq = 0;
    for (int g = 0; g < groups; ++g) {
      const float at = (fits[g] / step - 1) * 0.5f;
      const int near = at < 0                                ? 0
                       : at > static_cast<float>(most_scale) ? most_scale
                                                             : static_cast<int>(Nearest(at));
      float best = 3e38f;
      Fitted of{0, 0};
      for (int s = near - 1; s <= near + 1; ++s) {
        if (s < 0 || s > most_scale) continue;
        const float times = static_cast<float>(2 * s + 1), scale = times * step;
        const Fitted f = fit(g, 1 / scale);
        const float cost = scale * (scale * f.qq - 2 * f.xq);
        if (cost < best) {
          best = cost;
          best_scales[g] = static_cast<uint8_t>(s);
          of = {times * f.xq, times * times * f.qq};
        }
      }
      error += best;
      xq += of.xq;
      qq += of.qq;
    }
    if (error < least) {
      least = error;
      d = tried;
      for (int g = 0; g < groups; ++g) scales[g] = best_scales[g];
    }
    const uint16_t next = to_half(qq > 0 && xq > 0 ? xq / qq / unit : 0);
    if (next == tried) break;
    tried = next;
  }
}

template <int D>
HWY_INLINE void FitGridBlock(const GridSearch& grid, const GridFormat& format, const float* x,
                             const float* importance, GridBlock& out) {
  alignas(32) float w[kSuper], sizes[kSuper];
  Weigh<kSuper>(x, importance, MeanSquare(x, kSuper), w);
  SplitSigns(x, w, format.even_signs, sizes, out.signs);
  const int group = format.group, groups = kSuper / group;
  float fits[16];
  for (int g = 0; g < groups; ++g) fits[g] = FitGridScale<D>(grid, format, sizes + g * group, w + g * group);
  const auto fit = [&](int g, float inverse) __attribute__((always_inline)) {
    return FitPoints<D>(grid, sizes + g * group, w + g * group, group, inverse);
  };
  ChooseScales(fits, groups, kMostGridScale, format.unit, fit, out.d, out.scales);
  const float unit = from_half(out.d) * format.unit;
  for (int g = 0; g < groups; ++g)
    ChoosePoints<D>(grid, format, x + g * group, w + g * group,
                    unit * static_cast<float>(2 * out.scales[g] + 1), out.points + g * group / D,
                    out.signs + g * group / 8);
}

}  // namespace cairn::kernels::CAIRN_TARGET
