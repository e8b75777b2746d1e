// IQ1: blocks of 256, w = d · (2 · scale + 1) · (point ± 1/8), points of −1, 0 and 1.
#pragma once

#include "kernels/quantizers/grid_blocks.hpp"

namespace cairn::kernels::CAIRN_TARGET {

constexpr float kShift = 0.125f;
constexpr int kMostTernaryScale = 7;

struct TernaryBlock {
  uint16_t d;
  uint8_t scales[16];
  uint16_t points[32];
  bool down[32];  // of each eight: less 1/8
};

// Points of `count` numbers, and whether each eight's are shifted down; kEach: for each eight apart.
template <bool kEach>
HWY_INLINE Fitted FitTernary(const GridSearch& grid, const float* x, const float* w, int count, float inverse,
                             uint16_t* points, bool* down) {
  const float scale = 1 / inverse;
  Fitted sums[2] = {{0, 0}, {0, 0}}, chosen{0, 0};
  uint16_t found[2][4];
  const auto cost = [&](const Fitted& f) { return scale * (scale * f.qq - 2 * f.xq); };
  for (int i = 0; i < count; i += 8) {
    const F8 at = Load(x + i), weight = Load(w + i);
    Fitted eight[2];
    for (int side = 0; side < 2; ++side) {
      const float shift = side == 0 ? kShift : -kShift;
      const F8 q = NearestPoints<8>(grid, at * inverse - shift, w + i, &found[side][i / 8]) + shift,
               wq = q * weight;
      eight[side] = {Sum(wq * at), Sum(wq * q)};
      sums[side] = {sums[side].xq + eight[side].xq, sums[side].qq + eight[side].qq};
    }
    if (kEach) {
      const int side = cost(eight[1]) < cost(eight[0]);
      chosen = {chosen.xq + eight[side].xq, chosen.qq + eight[side].qq};
      points[i / 8] = found[side][i / 8];
      down[i / 8] = side != 0;
    }
  }
  if (kEach) return chosen;
  const int side = cost(sums[1]) < cost(sums[0]);
  for (int i = 0; i < count / 8; ++i) points[i] = found[side][i], down[i] = side != 0;
  return sums[side];
}

template <bool kEach>
HWY_INLINE float FitTernaryScale(const GridSearch& grid, const float* x, const float* w, int count) {
  constexpr int kTops = 16;
  constexpr float kLeastTop = 0.8f, kMostTop = 3.4f;
  float most = 0;
  for (int i = 0; i < count; ++i) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
  if (most < kNothing) return 0;
  float best = 0, gain = -1;
  uint16_t points[4];
  bool down[4];
  const auto look = [&](float inverse) __attribute__((always_inline)) {
    const Fitted f = FitTernary<kEach>(grid, x, w, count, inverse, points, down);
    if (f.qq > 0 && f.xq > 0 && f.xq * f.xq > gain * f.qq) gain = f.xq * f.xq / f.qq, best = f.xq / f.qq;
  };
  for (int i = 0; i < kTops; ++i)
    look((kLeastTop + (kMostTop - kLeastTop) / (kTops - 1) * static_cast<float>(i)) / most);
  for (int i = 0; i < 2 && best > 0; ++i) look(1 / best);
  return best;
}

// group: 32 with one shift, or 16 whose eights have their own.
template <bool kEach>
HWY_INLINE void FitTernaryBlock(const GridSearch& grid, const float* x, const float* importance,
                                TernaryBlock& out) {
  constexpr int kGroup = kEach ? 16 : 32, kGroups = kSuper / kGroup;
  alignas(32) float w[kSuper];
  Weigh<kSuper>(x, importance, MeanSquare(x, kSuper), w);
  float fits[kGroups];
  for (int g = 0; g < kGroups; ++g)
    fits[g] = FitTernaryScale<kEach>(grid, x + g * kGroup, w + g * kGroup, kGroup);
  const auto fit = [&](int g, float inverse) __attribute__((always_inline)) {
    const int eight = g * kGroup / 8;
    return FitTernary<kEach>(grid, x + g * kGroup, w + g * kGroup, kGroup, inverse, out.points + eight,
                             out.down + eight);
  };
  ChooseScales(fits, kGroups, kMostTernaryScale, 1, fit, out.d, out.scales);
  const float unit = from_half(out.d);
  for (int g = 0; g < kGroups; ++g)
    fit(g, unit > 0 ? 1 / (unit * static_cast<float>(2 * out.scales[g] + 1)) : 0);
}

}  // namespace cairn::kernels::CAIRN_TARGET
