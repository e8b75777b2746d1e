// The float work between matrix products; see kernels/vector.hpp.
#include "kernels/targets/hadamard.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;

// Applies body to n floats, the last few through a padded copy.
template <class Body>
HWY_INLINE void for_each(size_t n, const float* a, const float* b, float* out, const Body& body) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    hn::StoreU(body(hn::LoadU(df, a + i), hn::LoadU(df, b + i)), df, out + i);
  if (i == n) return;
  float in_a[kLanes] = {}, in_b[kLanes] = {}, result[kLanes];
  for (size_t j = i; j < n; ++j) in_a[j - i] = a[j], in_b[j - i] = b[j];
  hn::StoreU(body(hn::LoadU(df, in_a), hn::LoadU(df, in_b)), df, result);
  for (size_t j = i; j < n; ++j) out[j] = result[j - i];
}

HWY_INLINE VF apply(Unary unary, VF x) {
  const VF half_x = hn::Mul(hn::Set(df, 0.5f), x), one = hn::Set(df, 1.0f);
  switch (unary) {
    case Unary::silu:
      return hn::Mul(x, Sigmoid(x));
    case Unary::gelu_tanh: {
      const VF inner = hn::MulAdd(hn::Mul(hn::Mul(x, x), x), hn::Set(df, 0.044715f), x);
      return hn::Mul(half_x, hn::Add(one, Tanh(hn::Mul(hn::Set(df, 0.7978845608f), inner))));
    }
    case Unary::gelu_erf:
      return hn::Mul(half_x, hn::Add(one, Erf(hn::Mul(x, hn::Set(df, 0.7071067812f)))));
    case Unary::sigmoid:
      return Sigmoid(x);
    case Unary::relu_squared:
      return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(df)), hn::Mul(x, x));  // keeps NaN
    case Unary::none:
    case Unary::silu_clamped:
      break;
  }
  return x;
}

void add(const float* a, const float* b, size_t n, float* out) {
  for_each(n, a, b, out, [](VF x, VF y) HWY_ATTR { return hn::Add(x, y); });
}
void scale(const float* a, float factor, size_t n, float* out) {
  for_each(n, a, a, out, [=](VF x, VF) HWY_ATTR { return hn::Mul(x, hn::Set(df, factor)); });
}
void activate(Unary unary, const float* a, size_t n, float* out) {
  for_each(n, a, a, out, [=](VF x, VF) HWY_ATTR { return apply(unary, x); });
}
void add_scaled(const float* a, float factor, size_t n, float* out) {
  for_each(n, a, out, out, [=](VF x, VF y) HWY_ATTR { return hn::MulAdd(x, hn::Set(df, factor), y); });
}
// A comparison keeps NaN, which Min and Max may drop.
HWY_INLINE VF at_most(VF x, float limit) {
  const VF most = hn::Set(df, limit);
  return hn::IfThenElse(hn::Gt(x, most), most, x);
}
HWY_INLINE VF at_least(VF x, float limit) {
  const VF least = hn::Set(df, limit);
  return hn::IfThenElse(hn::Lt(x, least), least, x);
}
void gate(Unary unary, const float* a, const float* b, size_t n, float* out) {
  if (unary == Unary::silu_clamped) {
    constexpr float kLimit = 7, kSlope = 1.702f;
    return for_each(n, a, b, out, [=](VF x, VF y) HWY_ATTR {
      x = at_most(x, kLimit);
      y = at_least(at_most(y, kLimit), -kLimit);
      const VF opened = hn::Mul(x, Sigmoid(hn::Mul(hn::Set(df, kSlope), x)));
      return hn::MulAdd(opened, y, opened);
    });
  }
  for_each(n, a, b, out, [=](VF x, VF y) HWY_ATTR { return hn::Mul(apply(unary, x), y); });
}
void softcap(const float* a, float cap, size_t n, float* out) {
  for_each(n, a, a, out, [=](VF x, VF) HWY_ATTR {
    return hn::Mul(hn::Set(df, cap), Tanh(hn::Mul(x, hn::Set(df, 1 / cap))));
  });
}

void tile_bias(float* x, const float* bias, size_t features) {
  for (size_t f = 0; f < features; ++f) {
    const VF b = hn::Set(df, bias[f]);
    for (size_t v = 0; v < kTile; v += kLanes) {
      float* p = x + f * kTile + v;
      hn::StoreU(hn::Add(hn::LoadU(df, p), b), df, p);
    }
  }
}

HWY_INLINE VF inverse_root(VF x) {
  return hn::Div(hn::Set(df, 1.0f), hn::Sqrt(x));
}

void tile_norm_rms(const float* x, const float* weight, float epsilon, size_t features, float* out) {
  for (size_t v = 0; v < kTile; v += kLanes) {
    VF even = hn::Zero(df), odd = hn::Zero(df);
    for (size_t f = 0; f + 1 < features; f += 2) {
      const VF a = hn::LoadU(df, x + f * kTile + v), b = hn::LoadU(df, x + (f + 1) * kTile + v);
      even = hn::MulAdd(a, a, even), odd = hn::MulAdd(b, b, odd);
    }
    if (features % 2 != 0) {
      const VF a = hn::LoadU(df, x + (features - 1) * kTile + v);
      even = hn::MulAdd(a, a, even);
    }
    const VF mean = hn::Mul(hn::Add(even, odd), hn::Set(df, 1.0f / static_cast<float>(features)));
    const VF factor = inverse_root(hn::Add(mean, hn::Set(df, epsilon)));
    for (size_t f = 0; f < features; ++f) {
      const VF a = hn::LoadU(df, x + f * kTile + v);
      hn::StoreU(hn::Mul(hn::Mul(a, factor), hn::Set(df, weight[f])), df, out + f * kTile + v);
    }
  }
}

void tile_norm_layer(const float* x, const float* weight, const float* bias, float epsilon, size_t features,
                     float* out) {
  const VF count = hn::Set(df, 1.0f / static_cast<float>(features));
  for (size_t v = 0; v < kTile; v += kLanes) {
    VF total = hn::Zero(df);
    for (size_t f = 0; f < features; ++f) total = hn::Add(total, hn::LoadU(df, x + f * kTile + v));
    const VF mean = hn::Mul(total, count);
    VF squares = hn::Zero(df);
    for (size_t f = 0; f < features; ++f) {
      const VF a = hn::Sub(hn::LoadU(df, x + f * kTile + v), mean);
      squares = hn::MulAdd(a, a, squares);
    }
    const VF factor = inverse_root(hn::MulAdd(squares, count, hn::Set(df, epsilon)));
    for (size_t f = 0; f < features; ++f) {
      const VF a = hn::Mul(hn::Sub(hn::LoadU(df, x + f * kTile + v), mean), factor);
      hn::StoreU(hn::MulAdd(a, hn::Set(df, weight[f]), hn::Set(df, bias[f])), df, out + f * kTile + v);
    }
  }
}

// The two elements that pair i of a head rotates.
HWY_INLINE size_t rope_first(size_t i, bool neox) {
  return neox ? i : 2 * i;
}
HWY_INLINE size_t rope_second(size_t i, size_t dims, bool neox) {
  return neox ? i + dims / 2 : 2 * i + 1;
}

void tile_rope(float* x, size_t dims, bool neox, const float* cosines, const float* sines) {
  for (size_t i = 0; i < dims / 2; ++i) {
    for (size_t v = 0; v < kTile; v += kLanes) {
      float* p = x + rope_first(i, neox) * kTile + v;
      float* q = x + rope_second(i, dims, neox) * kTile + v;
      const VF a = hn::LoadU(df, p), b = hn::LoadU(df, q);
      const VF c = hn::LoadU(df, cosines + i * kTile + v), s = hn::LoadU(df, sines + i * kTile + v);
      hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), df, p);
      hn::StoreU(hn::Add(hn::Mul(a, s), hn::Mul(b, c)), df, q);
    }
  }
}

float dot(const float* a, const float* b, size_t n) {
  VF even = hn::Zero(df), odd = hn::Zero(df);
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    even = hn::MulAdd(hn::LoadU(df, a + i), hn::LoadU(df, b + i), even);
    odd = hn::MulAdd(hn::LoadU(df, a + i + kLanes), hn::LoadU(df, b + i + kLanes), odd);
  }
  float total = hn::GetLane(hn::SumOfLanes(df, hn::Add(even, odd)));
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

void token_norm_rms(const float* x, const float* weight, float epsilon, size_t features, float* out) {
  const float mean = dot(x, x, features) / static_cast<float>(features) + epsilon;
  const VF factor = hn::Set(df, 1 / hn::GetLane(hn::Sqrt(hn::Set(df, mean))));
  for_each(features, x, weight, out, [=](VF a, VF w) HWY_ATTR { return hn::Mul(hn::Mul(a, factor), w); });
}

void token_norm_layer(const float* x, const float* weight, const float* bias, float epsilon, size_t features,
                      float* out) {
  float total = 0;
  for (size_t f = 0; f < features; ++f) total += x[f];
  const float mean = total / static_cast<float>(features);
  float squares = 0;
  for (size_t f = 0; f < features; ++f) squares += (x[f] - mean) * (x[f] - mean);
  const float variance = squares / static_cast<float>(features) + epsilon;
  const float factor = 1 / hn::GetLane(hn::Sqrt(hn::Set(df, variance)));
  for (size_t f = 0; f < features; ++f) out[f] = (x[f] - mean) * factor * weight[f] + bias[f];
}

void token_rope(float* x, size_t dims, bool neox, const float* cosines, const float* sines) {
  for (size_t i = 0; i < dims / 2; ++i) {
    float& a = x[rope_first(i, neox)];
    float& b = x[rope_second(i, dims, neox)];
    const float first = a * cosines[i] - b * sines[i];
    b = a * sines[i] + b * cosines[i];
    a = first;
  }
}

void token_quantize(const float* x, size_t k, int8_t* values, float* scales, float* sums) {
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<int8_t, FloatTag> d8;
  for (size_t group = 0; group < k / kGroup; ++group) {
    const float* in = x + group * kGroup;
    // A maximum drops NaN; x · 0 keeps it (and makes one of infinity), and the scale carries it on.
    VF largest = hn::Zero(df), poison = largest;
    for (size_t i = 0; i < kGroup; i += kLanes) {
      const VF value = hn::LoadU(df, in + i);
      largest = hn::Max(largest, hn::Abs(value));
      poison = hn::MulAdd(value, hn::Zero(df), poison);
    }
    const float top = hn::GetLane(hn::MaxOfLanes(df, largest));
    const VF inverse = hn::Set(df, 127.0f / (top > 1e-30f ? top : 1e-30f));
    auto total = hn::Zero(di);
    for (size_t i = 0; i < kGroup; i += kLanes) {
      const auto q = hn::NearestInt(hn::Mul(hn::LoadU(df, in + i), inverse));
      total = hn::Add(total, q);
      hn::StoreU(hn::DemoteTo(d8, q), d8, values + group * kGroup + i);
    }
    scales[group] = top / 127.0f + hn::GetLane(hn::SumOfLanes(df, poison));
    sums[group] = scales[group] * static_cast<float>(hn::GetLane(hn::SumOfLanes(di, total)));
  }
}

void token_hadamard(float* x, size_t n, size_t blocks) {
  for (size_t block = 0; block < blocks; ++block) hadamard_row(x + block * n, n);
}

void tile_hadamard(float* x, size_t n, size_t blocks) {
  float norm = 1;
  for (size_t i = n; i > 1; i /= 2) norm *= 0.5f;
  const float factor = hn::GetLane(hn::Sqrt(hn::Set(df, norm)));
  for (size_t block = 0; block < blocks; ++block, x += n * kTile) {
    for (size_t half = 1; half < n; half *= 2) {
      const size_t run = half * kTile;
      for (size_t i = 0; i < n * kTile; i += 2 * run) {
        for (size_t j = i; j < i + run; ++j) {
          const float a = x[j], b = x[j + run];
          x[j] = a + b;
          x[j + run] = a - b;
        }
      }
    }
    scale(x, factor, n * kTile, x);
  }
}

}  // namespace

const VectorKernels& vector_table() {
  static constexpr VectorKernels table{&add,
                                       &scale,
                                       &add_scaled,
                                       &activate,
                                       &gate,
                                       &softcap,
                                       &tile_bias,
                                       &tile_norm_rms,
                                       &tile_norm_layer,
                                       &tile_rope,
                                       &token_norm_rms,
                                       &token_norm_layer,
                                       &token_rope,
                                       &token_quantize,
                                       &dot,
                                       &token_hadamard,
                                       &tile_hadamard};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
