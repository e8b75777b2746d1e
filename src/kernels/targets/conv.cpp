// Convolutions of rows on the instruction set's dot products; see kernels/conv.hpp. Lanes are pixels.
#include "kernels/conv.hpp"

#include <hwy/highway.h>

#include "kernels/dot.hpp"
#include "kernels/targets/conv_pack.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

constexpr size_t kLanes = HWY_LANES(float);                    // pixels of a vector
constexpr bool kPairs = CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI;  // sums of products in 16 bits first
// Vectors of pixels × outputs held in registers; the first two loop over the layer, the third takes what is
// left of an odd number of groups.
constexpr size_t kVectors = kManyRegisters ? 3 : kPairs ? 2 : 3;
constexpr size_t kStep = kVectors * kLanes;

HWY_INLINE VI8 weight(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return hn::BitCast(DI8(), hn::Set(DI32(), four));
}
HWY_INLINE VU8 pixels_at(const uint8_t* p) {
  return hn::LoadU(DU8(), p);
}

// acc[o][v] += the dot products of `steps` steps. Weights of output o are at low + 4·o (o < 4) and at
// high + 4·(o − 4); `row` bytes lead to the next step.
template <size_t V, size_t O, class Acc>
HWY_INLINE void accumulate(Acc& acc, const uint8_t* const* inputs, size_t steps, size_t offset,
                           const int8_t* low, const int8_t* high, size_t row) {
  const uint8_t* const* stop = inputs + steps;
  for (hide(stop); inputs != stop; ++inputs, low += row, high += row) {
    VU8 u[V];
    CAIRN_UNROLL(V, v, u[v] = pixels_at(*inputs + offset + v * kVectorBytes));
    CAIRN_UNROLL(O, o, const VI8 w = weight(o < 4 ? low + 4 * o : high + 4 * o - 16);
                 CAIRN_UNROLL(V, v, acc[o][v] = Dot4(acc[o][v], u[v], w); pin(acc[o][v])));
  }
}

#if CAIRN_HAS_MADDUBS
// The same, S steps at a time, their pairs of products summed in 16 bits.
template <size_t V, size_t O, size_t S, class Acc>
HWY_INLINE void accumulate_pairs(Acc& acc, const uint8_t* const* inputs, size_t steps, size_t offset,
                                 const int8_t* low, const int8_t* high, size_t row) {
  const VI16 ones = hn::Set(DI16(), 1);
  const uint8_t* const* stop = inputs + steps;
  for (hide(stop); inputs != stop; inputs += S, low += S * row, high += S * row) {
    VU8 u[S][V];
    CAIRN_UNROLL(S, s, CAIRN_UNROLL(V, v, u[s][v] = pixels_at(inputs[s] + offset + v * kVectorBytes)));
    CAIRN_UNROLL(O, o, const int8_t* w = o < 4 ? low + 4 * o : high + 4 * o - 16; VI16 sum[V];
                 const VI8 first = weight(w); CAIRN_UNROLL(V, v, sum[v] = Dot2(u[0][v], first));
                 CAIRN_UNROLL(S - 1, s, const VI8 next = weight(w + (s + 1) * row);
                              CAIRN_UNROLL(V, v, sum[v] = hn::Add(sum[v], Dot2(u[s + 1][v], next))));
                 CAIRN_UNROLL(V, v, acc[o][v] = hn::Add(acc[o][v], Dot2(sum[v], ones)); pin(acc[o][v])));
  }
}
#endif

// S steps at a time as far as that goes, then the rest one by one.
template <size_t V, size_t O, size_t S, class Acc>
HWY_INLINE void accumulate_all(Acc& acc, const uint8_t* const* inputs, size_t steps, size_t offset,
                               const int8_t* low, const int8_t* high, size_t row) {
  size_t done = 0;
#if CAIRN_HAS_MADDUBS
  if constexpr (S > 1) {
    done = steps / S * S;
    accumulate_pairs<V, O, S>(acc, inputs, done, offset, low, high, row);
  }
#endif
  accumulate<V, O>(acc, inputs + done, steps - done, offset, low + done * row, high + done * row, row);
}

// O outputs (4 or 8) from `first` on of V vectors of pixels.
template <size_t V, size_t O, size_t S>
HWY_INLINE void hidden_block(const ConvLayer& layer, const uint8_t* const* inputs, size_t first,
                             size_t offset, uint8_t* const* outputs) {
  VI32 acc[O][V];
  CAIRN_UNROLL(O, o, const VI32 start = hn::Set(DI32(), layer.bias[first + o]);
               CAIRN_UNROLL(V, v, acc[o][v] = start));
  const int8_t* low = layer.weights + first * layer.steps * 4;
  accumulate_all<V, O, S>(acc, inputs, layer.steps, offset, low, low + layer.steps * 16, 16);
  const VU8 largest = hn::Set(DU8(), layer.largest);
  CAIRN_UNROLL(O / 4, g, {
    VF32 m[4];
    CAIRN_UNROLL(4, i, m[i] = hn::Set(DF32(), layer.multiplier[first + 4 * g + i]));
    uint8_t* out = outputs[first / 4 + g] + offset;
    CAIRN_UNROLL(V, v, {
      VI32 q[4];
      CAIRN_UNROLL(4, i, q[i] = round_product(acc[4 * g + i][v], m[i]));
      hn::StoreU(hn::Min(interleave4(q[0], q[1], q[2], q[3]), largest), DU8(), out + v * kVectorBytes);
    });
  });
}

template <size_t V, size_t O, size_t S>
void hidden_steps(const ConvLayer& layer, const uint8_t* const* inputs, size_t pixels,
                  uint8_t* const* outputs) {
  for (size_t x = 0; x < pixels; x += V * kLanes) {
    size_t o = 0;
    for (; o + O <= layer.outputs; o += O) hidden_block<V, O, S>(layer, inputs, o, x * 4, outputs);
    if constexpr (O == 8) {
      if (o < layer.outputs) hidden_block<V, 4, S>(layer, inputs, o, x * 4, outputs);
    }
  }
}

void hidden(const ConvLayer& layer, const uint8_t* const* inputs, size_t pixels, uint8_t* const* outputs) {
  if constexpr (kManyRegisters && kPairs) {
    if (layer.together >= 4) return hidden_steps<1, 8, 4>(layer, inputs, pixels, outputs);
    if (layer.together >= 2) return hidden_steps<1, 8, 2>(layer, inputs, pixels, outputs);
    hidden_steps<3, 8, 1>(layer, inputs, pixels, outputs);
  } else if constexpr (kPairs) {
    if (layer.together >= 4) return hidden_steps<1, 8, 4>(layer, inputs, pixels, outputs);
    if (layer.together >= 2) return hidden_steps<1, 8, 2>(layer, inputs, pixels, outputs);
    hidden_steps<2, 4, 1>(layer, inputs, pixels, outputs);
  } else {
    hidden_steps<kVectors, kManyRegisters ? 8 : 4, 1>(layer, inputs, pixels, outputs);
  }
}

// The sums of the 5×5 filter for phases [first, first + O).
template <size_t O>
HWY_INLINE void add_skip(const ConvTail& tail, const uint32_t* const* rows, size_t first, size_t x,
                         VI32 (&sum)[O]) {
  const int16_t* taps = tail.skip + first * kSkipRows * kSkipPairs * 2;
  CAIRN_UNROLL(O, o, sum[o] = hn::Zero(DI32()));
  for (size_t r = 0; r < kSkipRows; ++r, taps += kSkipPairs * 2) {
    CAIRN_UNROLL(kSkipPairs, k, {
      const VI32 p = hn::BitCast(DI32(), hn::LoadU(DU32(), rows[r] + x + 2 * k - 2));
      CAIRN_UNROLL(O, o, {
        int32_t two;
        __builtin_memcpy(&two, taps + o * kSkipRows * kSkipPairs * 2 + 2 * k, 4);
        sum[o] = dot_pairs(sum[o], p, hn::Set(DI32(), two));
      });
    });
  }
}

// One vector of pixels, O outputs from phase `first` on: [O] vectors of samples.
template <size_t O>
HWY_INLINE void tail_block(const ConvTail& tail, const uint8_t* const* inputs, const uint32_t* const* rows,
                           size_t first, size_t x, VI32 (&samples)[O]) {
  VI32 acc[O][1], skip[O];
  CAIRN_UNROLL(O, o, acc[o][0] = hn::Zero(DI32()));
  const int8_t* weights = tail.weights + first * tail.steps * 4;
  if constexpr (kPairs) {
    if (tail.together >= 4) {
      accumulate_all<1, O, 4>(acc, inputs, tail.steps, x * 4, weights, weights, O * 4);
    } else {
      accumulate_all<1, O, 1>(acc, inputs, tail.steps, x * 4, weights, weights, O * 4);
    }
  } else {
    accumulate_all<1, O, 1>(acc, inputs, tail.steps, x * 4, weights, weights, O * 4);
  }
  add_skip(tail, rows, first, x, skip);
  const DF32 d;
  const VF32 zero = hn::Zero(d), peak = hn::Set(d, tail.peak), by = hn::Set(d, tail.skip_multiplier);
  CAIRN_UNROLL(O, o, {
    const VF32 network = hn::Mul(hn::ConvertTo(d, acc[o][0]), hn::Set(d, tail.multiplier[first + o]));
    const VF32 filter = hn::Add(hn::Mul(hn::ConvertTo(d, skip[o]), by), hn::Set(d, tail.offset[first + o]));
    samples[o] = nearest(hn::Min(hn::Max(hn::Add(network, filter), zero), peak));
  });
}

template <size_t Scale>
void tail_scale(const ConvTail& tail, const uint8_t* const* inputs, const uint32_t* const* rows,
                size_t pixels, uint16_t* const* out) {
  for (size_t x = 0; x < pixels; x += kLanes) {
    if constexpr (Scale == 2) {
      VI32 s[4];
      tail_block<4>(tail, inputs, rows, 0, x, s);
      CAIRN_UNROLL(2, dy, store_row<2>(s + 2 * dy, out[dy] + 2 * x));
    } else {
      for (size_t dy = 0; dy < Scale; ++dy) {
        VI32 s[Scale];
        tail_block<Scale>(tail, inputs, rows, dy * Scale, x, s);
        store_row<Scale>(s, out[dy] + Scale * x);
      }
    }
  }
}

void tail(const ConvTail& t, const uint8_t* const* inputs, const uint32_t* const* rows, size_t pixels,
          uint16_t* const* out) {
  switch (t.scale) {
    case 1:
      return tail_scale<1>(t, inputs, rows, pixels, out);
    case 2:
      return tail_scale<2>(t, inputs, rows, pixels, out);
    case 3:
      return tail_scale<3>(t, inputs, rows, pixels, out);
    default:
      return tail_scale<4>(t, inputs, rows, pixels, out);
  }
}

void expand(const uint16_t* samples, size_t pixels, unsigned shift, uint8_t* taps, uint8_t* rests,
            uint32_t* pairs) {
  const DU32 d;
  const hn::Rebind<uint16_t, DU32> d16;
  const auto load = [&](const uint16_t* p) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(d16, p)); };
  const auto byte = [&](VU32 v) HWY_ATTR {
    if (shift == 0) return v;
    return hn::Min(hn::ShiftRight<2>(hn::Add(v, hn::Set(d, 2))), hn::Set(d, 255));
  };
  const auto three = [&](VU32 a, VU32 b, VU32 c)
                         HWY_ATTR { return hn::Or(a, hn::Or(hn::ShiftLeft<8>(b), hn::ShiftLeft<16>(c))); };
  for (size_t x = 0; x < pixels; x += kLanes) {
    const VU32 here = load(samples + x), after = load(samples + x + 1);
    if (pairs != nullptr) hn::StoreU(hn::Or(here, hn::ShiftLeft<16>(after)), d, pairs + x);
    if (taps == nullptr) continue;
    const VU32 a = byte(load(samples + x - 1)), b = byte(here), c = byte(after);
    auto* out = reinterpret_cast<uint32_t*>(taps + 4 * x);
    if (rests == nullptr) {
      hn::StoreU(three(a, b, c), d, out);
      continue;
    }
    const VU32 a2 = hn::ShiftRight<1>(a), b2 = hn::ShiftRight<1>(b), c2 = hn::ShiftRight<1>(c);
    hn::StoreU(three(a2, b2, c2), d, out);
    hn::StoreU(three(hn::Sub(a, a2), hn::Sub(b, b2), hn::Sub(c, c2)), d,
               reinterpret_cast<uint32_t*>(rests + 4 * x));
  }
}

}  // namespace

const ConvKernels& conv_table() {
  static constexpr ConvKernels table{kStep, &hidden, &tail, &expand};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
