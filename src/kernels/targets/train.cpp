// Convolutions in float, forwards and backwards; see kernels/train.hpp. Lanes run along a row; a block of
// output channels stays in registers, weights are broadcast from memory.
#include "kernels/train.hpp"

#include "kernels/dot.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const DF32 df;
constexpr size_t kLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
static_assert(kTrainColumns % (2 * kLanes) == 0);
constexpr size_t kBlock = kManyRegisters ? 8 : 4;  // accumulators that fit

template <size_t Outs>
HWY_INLINE void convolve_block(const TrainShape& shape, const TrainPlanes& in, const float* weights,
                               const float* bias, const TrainPlanes& out) {
  const size_t k = shape.kernel;
  for (size_t y = 0; y < shape.rows; ++y) {
    for (size_t x = 0; x < shape.columns; x += 2 * kLanes) {
      VF32 low[Outs], high[Outs];
      float* to = out.data + y * out.stride + x;
      if (bias != nullptr) {
        CAIRN_UNROLL(Outs, o, low[o] = high[o] = hn::Set(df, bias[o]));
      } else {
        CAIRN_UNROLL(Outs, o, low[o] = hn::LoadU(df, to + o * out.plane);
                     high[o] = hn::LoadU(df, to + o * out.plane + kLanes));
      }
      const float* weight = weights;
      for (size_t i = 0; i < shape.in; ++i) {
        for (size_t ky = 0; ky < k; ++ky) {
          const float* from = in.data + i * in.plane + (y + ky) * in.stride + x;
          for (size_t kx = 0; kx < k; ++kx, ++from, weight += shape.out) {
            const VF32 a = hn::LoadU(df, from), b = hn::LoadU(df, from + kLanes);
            CAIRN_UNROLL(Outs, o, const VF32 w = hn::Set(df, weight[o]); low[o] = hn::MulAdd(a, w, low[o]);
                         high[o] = hn::MulAdd(b, w, high[o]));
          }
        }
      }
      CAIRN_UNROLL(Outs, o, hn::StoreU(low[o], df, to + o * out.plane);
                   hn::StoreU(high[o], df, to + o * out.plane + kLanes));
    }
  }
}

template <size_t Outs, size_t Taps>
HWY_INLINE void gradient_block(const TrainShape& shape, const TrainPlanes& in, const TrainPlanes& error,
                               size_t i, size_t ky, size_t kx, float* gradient) {
  VF32 sum[Outs * Taps];
  CAIRN_UNROLL(Outs * Taps, s, sum[s] = hn::Zero(df));
  for (size_t y = 0; y < shape.rows; ++y) {
    const float* from = in.data + i * in.plane + (y + ky) * in.stride + kx;
    const float* at = error.data + y * error.stride;
    for (size_t x = 0; x < shape.columns; x += kLanes) {
      VF32 input[Taps];
      CAIRN_UNROLL(Taps, t, input[t] = hn::LoadU(df, from + x + t));
      CAIRN_UNROLL(Outs, o, const VF32 e = hn::LoadU(df, at + o * error.plane + x);
                   CAIRN_UNROLL(Taps, t, sum[o * Taps + t] = hn::MulAdd(input[t], e, sum[o * Taps + t])));
    }
  }
  float* to = gradient + ((i * shape.kernel + ky) * shape.kernel + kx) * shape.out;
  CAIRN_UNROLL(
      Taps, t,
      CAIRN_UNROLL(Outs, o, to[t * shape.out + o] += hn::GetLane(hn::SumOfLanes(df, sum[o * Taps + t]))));
}

template <size_t Outs>
HWY_INLINE void gradient_blocks(const TrainShape& shape, const TrainPlanes& in, const TrainPlanes& error,
                                float* gradient) {
  for (size_t i = 0; i < shape.in; ++i) {
    for (size_t ky = 0; ky < shape.kernel; ++ky) {
      size_t kx = 0;
      for (; kx + 3 <= shape.kernel; kx += 3) gradient_block<Outs, 3>(shape, in, error, i, ky, kx, gradient);
      for (; kx < shape.kernel; ++kx) gradient_block<Outs, 1>(shape, in, error, i, ky, kx, gradient);
    }
  }
}

// Calls body<N>(first channel) for blocks of kBlock channels, then of 4, 2 and 1.
template <class Body>
HWY_INLINE void for_blocks(size_t channels, const Body& body) {
  size_t o = 0;
  for (; o + kBlock <= channels; o += kBlock) body(std::integral_constant<size_t, kBlock>(), o);
  for (; o + 4 <= channels; o += 4) body(std::integral_constant<size_t, 4>(), o);
  for (; o + 2 <= channels; o += 2) body(std::integral_constant<size_t, 2>(), o);
  for (; o < channels; ++o) body(std::integral_constant<size_t, 1>(), o);
}

void convolve(const TrainShape& shape, const TrainPlanes& in, const float* weights, const float* bias,
              const TrainPlanes& out) {
  for_blocks(shape.out, [&](auto outs, size_t o) HWY_ATTR {
    const TrainPlanes to{out.data + o * out.plane, out.stride, out.plane};
    convolve_block<decltype(outs)::value>(shape, in, weights + o, bias == nullptr ? nullptr : bias + o, to);
  });
}

void weight_gradient(const TrainShape& shape, const TrainPlanes& in, const TrainPlanes& error,
                     float* gradient) {
  for_blocks(shape.out, [&](auto outs, size_t o) HWY_ATTR {
    const TrainPlanes at{error.data + o * error.plane, error.stride, error.plane};
    gradient_blocks<decltype(outs)::value>(shape, in, at, gradient + o);
  });
}

void rectify(float* x, size_t n, float limit, float levels) {
  const VF32 zero = hn::Zero(df);
  if (levels == 0) {
    for (size_t i = 0; i < n; i += kLanes) hn::StoreU(hn::Max(hn::LoadU(df, x + i), zero), df, x + i);
    return;
  }
  const VF32 most = hn::Set(df, levels), to_level = hn::Set(df, levels / limit),
             from_level = hn::Set(df, limit / levels);
  for (size_t i = 0; i < n; i += kLanes) {
    const VF32 level = hn::Min(hn::Max(hn::Mul(hn::LoadU(df, x + i), to_level), zero), most);
    hn::StoreU(hn::Mul(hn::Round(level), from_level), df, x + i);
  }
}

void rectify_backwards(float* error, const float* output, size_t columns, float limit) {
  const VF32 zero = hn::Zero(df), most = hn::Set(df, limit);
  for (size_t x = 0; x < columns; x += kLanes) {
    const VF32 y = hn::LoadU(df, output + x);
    const auto live = hn::And(hn::Gt(y, zero), hn::Lt(y, most));
    hn::StoreU(hn::IfThenElseZero(live, hn::LoadU(df, error + x)), df, error + x);
  }
  for (size_t x = columns; x % kTrainColumns != 0; ++x) error[x] = 0;
}

}  // namespace

const TrainKernels& train_table() {
  static constexpr TrainKernels table{&convolve, &weight_gradient, &rectify, &rectify_backwards};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
