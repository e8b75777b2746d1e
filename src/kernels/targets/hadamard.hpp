// The fast Walsh–Hadamard transform of one vector.
#pragma once

#include "kernels/targets/lanes.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// n: a power of two. Orthonormal, in place.
HWY_INLINE void hadamard_row(float* HWY_RESTRICT x, size_t n) {
  const FloatTag df;
  const hn::RebindToSigned<FloatTag> di;
  const auto lane = hn::Iota(di, 0);
  float norm = 1;
  for (size_t i = n; i > 1; i /= 2) norm *= 0.5f;
  const float factor = hn::GetLane(hn::Sqrt(hn::Set(df, norm)));
  size_t half = 1;
  if (n >= kLanes) {
    for (; half < kLanes; half *= 2) {  // a vector's own lanes
      const auto bit = hn::Set(di, static_cast<int32_t>(half));
      const auto other = hn::IndicesFromVec(df, hn::Xor(lane, bit));
      const VF sign = hn::IfThenElse(hn::RebindMask(df, hn::Eq(hn::And(lane, bit), bit)), hn::Set(df, -1.0f),
                                     hn::Set(df, 1.0f));
      for (size_t i = 0; i < n; i += kLanes) {
        const VF a = hn::LoadU(df, x + i);
        hn::StoreU(hn::MulAdd(a, sign, hn::TableLookupLanes(a, other)), df, x + i);
      }
    }
    for (; half < n; half *= 2) {
      for (size_t i = 0; i < n; i += 2 * half) {
        for (size_t j = i; j < i + half; j += kLanes) {
          const VF a = hn::LoadU(df, x + j), b = hn::LoadU(df, x + j + half);
          hn::StoreU(hn::Add(a, b), df, x + j);
          hn::StoreU(hn::Sub(a, b), df, x + j + half);
        }
      }
    }
    for (size_t i = 0; i < n; i += kLanes)
      hn::StoreU(hn::Mul(hn::LoadU(df, x + i), hn::Set(df, factor)), df, x + i);
    return;
  }
  for (; half < n; half *= 2) {
    for (size_t i = 0; i < n; i += 2 * half) {
      for (size_t j = i; j < i + half; ++j) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
    }
  }
  for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

// A head of any size: blocks of powers of two, the largest first. Its own inverse.
HWY_INLINE void hadamard_head(float* HWY_RESTRICT x, size_t n) {
  for (size_t at = 0; at < n;) {
    size_t block = 1;
    while (2 * block <= n - at) block *= 2;
    hadamard_row(x + at, block);
    at += block;
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
