// The scale, or scale and offset, with which codes come nearest to the numbers of a group. Lanes are
// candidates: each rounds the group with its own scale, then takes the one that least squares gives for those
// codes, and rounds again with that (Lloyd's iteration, IEEE Trans. Inf. Theory 28, 1982).
#pragma once

#include "kernels/quantizers/books.hpp"

namespace cairn::kernels::CAIRN_TARGET {

constexpr float kNothing = 1e-15f;  // a group with no larger number is zero
constexpr int kSteps = 2;           // vectors of candidates at each end of the codes

// Where the group's extremum comes to lie, in codes beyond the end.
HWY_INLINE F8 Beyond(int step, float first, float distance) {
  return F8{0, 1, 2, 3, 4, 5, 6, 7} * distance + (first + static_cast<float>(8 * step) * distance);
}

HWY_INLINE int BestLane(F8 gain) {
  int best = 0;
  for (int i = 1; i < 8; ++i) best = gain[i] > gain[best] ? i : best;
  return best;
}

struct Correlation {
  F8 xq, qq;  // Σ w x q, Σ w q²
};
template <class Book, int N>
HWY_INLINE Correlation Correlate(const float* x, const float* w, F8 inverse) {
  Correlation sum{};
  for (int i = 0; i < N; ++i) {
    const F8 q = Book::Value(inverse * x[i]), wq = q * w[i];
    sum.xq += wq * x[i];
    sum.qq += wq * q;
  }
  return sum;
}

// The scale d that minimises Σ w (x − d·q)² over codes and d, by the candidates looked at.
template <class Book, int N>
HWY_INLINE float FitScale(const float* x, const float* w) {
  float extremum = 0;
  for (int i = 0; i < N; ++i) extremum = __builtin_fabsf(x[i]) > __builtin_fabsf(extremum) ? x[i] : extremum;
  if (__builtin_fabsf(extremum) < kNothing) return 0;
  float best = 0, most = 0;
  const auto look = [&](F8 at) __attribute__((always_inline)) {
    Correlation c = Correlate<Book, N>(x, w, at / extremum);
    c = Correlate<Book, N>(x, w, c.xq != 0 ? c.qq / c.xq : All(0));
    const F8 gain = c.qq > 0 ? c.xq * c.xq / c.qq : All(0);
    const int lane = BestLane(gain);
    if (gain[lane] > most) {
      most = gain[lane];
      best = c.xq[lane] / c.qq[lane];
    }
  };
  constexpr float kInner = -1, kOuter = 1;  // farther, extremes are cut, which costs more than it says
  constexpr float kDistance = (kOuter - kInner) / (8 * kSteps - 1);
  for (int step = 0; step < kSteps; ++step) {
    const F8 beyond = Beyond(step, kInner, kDistance);
    look(Book::kLeast - beyond);
    look(Book::kMost + beyond);
  }
  return best;
}

struct Line {
  float scale, offset;
};

// scale and offset (at most 0 unless kAnyOffset) that minimise Σ w (x − scale·q − offset)²; codes from 0 on.
template <class Book, int N, bool kAnyOffset>
HWY_INLINE Line FitLine(const float* x, const float* w) {
  float least = x[0], most = x[0], weight = 0, wx = 0;
  for (int i = 0; i < N; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
    weight += w[i];
    wx += w[i] * x[i];
  }
  if (!kAnyOffset && least > 0) least = 0;
  if (most - least < kNothing) return {0, !kAnyOffset && least > 0 ? 0 : least};
  Line best{0, least};
  float most_gain = -1;
  for (int step = 0; step < 3; ++step) {
    F8 scale = (most - least) / (Book::kMost + Beyond(step, -1.2f, 2.6f / 23)), offset = All(least), gain{};
    for (int round = 0; round < 2; ++round) {
      const F8 inverse = scale != 0 ? 1 / scale : All(0);
      F8 q1{}, q2{}, xq{};
      for (int i = 0; i < N; ++i) {
        const F8 q = Book::Value((x[i] - offset) * inverse), wq = q * w[i];
        q1 += wq;
        q2 += wq * q;
        xq += wq * x[i];
      }
      const F8 determinant = weight * q2 - q1 * q1;
      scale = determinant > 0 ? (weight * xq - q1 * wx) / determinant : All(0);
      offset = determinant > 0 ? (q2 * wx - q1 * xq) / determinant : All(least);
      if (!kAnyOffset) {
        const I8 above = offset > 0;
        scale = above ? (q2 > 0 ? xq / q2 : All(0)) : scale;
        offset = above ? All(0) : offset;
      }
      gain = determinant > 0 ? scale * xq + offset * wx : All(-1);
    }
    const int lane = BestLane(gain);
    if (gain[lane] > most_gain) {
      most_gain = gain[lane];
      best = {scale[lane], offset[lane]};
    }
  }
  return best;
}

}  // namespace cairn::kernels::CAIRN_TARGET
