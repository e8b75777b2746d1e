// What the float kernels of this folder share: vector types and the functions that activations need.
#pragma once

#include "kernels/isa.hpp"

// math-inl.h must see highway.h first.
#include <hwy/contrib/math/math-inl.h>

#include "kernels/kernels.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using VF = hn::Vec<FloatTag>;

constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kVectors = 2;  // of tokens in a tile
constexpr size_t kTile = kVectors * kLanes;

// 1 / (1 + e^−x)
HWY_INLINE VF Sigmoid(VF x) {
  const FloatTag df;
  const VF one = hn::Set(df, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(df, hn::Neg(x))));
}

// tanh through one exponential: exact enough (2 ulp of 1) and finite everywhere.
HWY_INLINE VF Tanh(VF x) {
  const FloatTag df;
  const VF one = hn::Set(df, 1.0f);
  const VF power = hn::Exp(df, hn::Mul(hn::Set(df, -2.0f), hn::Abs(x)));
  return hn::CopySignToAbs(hn::Div(hn::Sub(one, power), hn::Add(one, power)), x);
}

// Abramowitz and Stegun 7.1.26, |error| ≤ 1.5e-7.
HWY_INLINE VF Erf(VF x) {
  const FloatTag df;
  const VF one = hn::Set(df, 1.0f);
  const VF a = hn::Abs(x);
  const VF t = hn::Div(one, hn::MulAdd(hn::Set(df, 0.3275911f), a, one));
  VF poly = hn::Set(df, 1.061405429f);
  poly = hn::MulAdd(poly, t, hn::Set(df, -1.453152027f));
  poly = hn::MulAdd(poly, t, hn::Set(df, 1.421413741f));
  poly = hn::MulAdd(poly, t, hn::Set(df, -0.284496736f));
  poly = hn::MulAdd(poly, t, hn::Set(df, 0.254829592f));
  const VF result = hn::NegMulAdd(hn::Mul(poly, t), hn::Exp(df, hn::Neg(hn::Mul(a, a))), one);
  return hn::CopySignToAbs(result, x);
}

}  // namespace cairn::kernels::CAIRN_TARGET
