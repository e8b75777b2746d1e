// The points of a grid that come nearest to numbers, by the weighted squared error.
#pragma once

#include "kernels/grid_search.hpp"
#include "kernels/quantizers/lanes.hpp"

namespace cairn::kernels::CAIRN_TARGET {

typedef int8_t S8 __attribute__((vector_size(8)));

HWY_INLINE F8 LoadBytes(const int8_t* p) {
  S8 bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, F8);
}

HWY_INLINE int LeastLane(F8 v) {
  int best = 0;
  for (int i = 1; i < 8; ++i) best = v[i] < v[best] ? i : best;
  return best;
}

// Σ w (y − g)² of eight points side by side.
template <int D, class LoadEight>
HWY_INLINE F8 Distances(const float* y, const float* w, const LoadEight& load) {
  F8 sum{};
  for (int i = 0; i < D; ++i) {
    const F8 rest = y[i] - load(i);
    sum += rest * rest * w[i];
  }
  return sum;
}

// Of a cell that is no point itself: the best of those near it.
template <int D>
HWY_INLINE int NearPoint(const GridSearch& grid, int cell, const float* y, const float* w) {
  constexpr int kNear = GridSearch::kNear;
  float least = 3e38f;
  int best = 0;
  for (int e = 0; e < kNear / 8; ++e) {
    const int8_t* values = grid.near_values + (cell * (kNear / 8) + e) * D * 8;
    const F8 distances = Distances<D>(
        y, w, [&](int i) __attribute__((always_inline)) { return LoadBytes(values + 8 * i); });
    const int lane = LeastLane(distances);
    if (distances[lane] < least) least = distances[lane], best = e * 8 + lane;
  }
  return grid.near[cell * kNear + best];
}

// The points nearest to eight numbers: one, or one for each half. Rounding each number alone is best where
// that gives a point of the grid. Returns the points' values.
template <int D>
HWY_INLINE F8 NearestPoints(const GridSearch& grid, F8 y, const float* w, uint16_t* points) {
  I8 codes{};
  for (int i = 0; i + 1 < grid.levels; ++i) codes -= y > grid.middles[i];
  alignas(32) float numbers[8];
  alignas(8) int8_t values[8];
  __builtin_memcpy(numbers, &y, sizeof y);
  for (int h = 0; h < 8 / D; ++h) {
    int cell = 0;
    for (int i = D; i-- > 0;) cell = cell * grid.levels + codes[h * D + i];
    int point = grid.index[cell];
    if (point == GridSearch::kNone) point = NearPoint<D>(grid, cell, numbers + h * D, w + h * D);
    points[h] = static_cast<uint16_t>(point);
    __builtin_memcpy(values + h * D, grid.rows + point * D, D);
  }
  return LoadBytes(values);
}

struct Choice {
  float cost;
  int point, flipped;  // −1: none
};

// Of all points the best for D numbers ≥ 0; `flip`: with the sign of one number turned, whichever costs
// least: (−y − g)² − (y − g)² = 4 y g.
template <int D>
HWY_INLINE Choice BestPoint(const GridSearch& grid, const float* y, const float* w, bool flip) {
  Choice best{3e38f, 0, -1};
  for (int e = 0; e < grid.points / 8; ++e) {
    const float* columns = grid.columns + e * D * 8;
    F8 cost = Distances<D>(
        y, w, [&](int i) __attribute__((always_inline)) { return Load(columns + 8 * i); });
    if (flip) {
      F8 turned = All(3e38f);
      for (int i = 0; i < D; ++i) turned = Min(turned, Load(columns + 8 * i) * (4 * w[i] * y[i]));
      cost += turned;
    }
    const int lane = LeastLane(cost);
    if (cost[lane] < best.cost) best = {cost[lane], e * 8 + lane, -1};
  }
  if (!flip) return best;
  float least = 3e38f;
  for (int i = 0; i < D; ++i) {
    const float turned = static_cast<float>(grid.rows[best.point * D + i]) * (4 * w[i] * y[i]);
    if (turned < least) least = turned, best.flipped = i;
  }
  return best;
}

}  // namespace cairn::kernels::CAIRN_TARGET
