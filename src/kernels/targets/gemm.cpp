// Prefill's matrix product; see kernels/gemm.hpp for the layouts.
#include "kernels/gemm.hpp"

#include <hwy/highway.h>

#include "kernels/dot.hpp"
#include "kernels/targets/panel.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {
const DF32 df;
const DI32 di;
const DU8 du8;
const DI8 ds8;
using VF = VF32;
using VI = VI32;
using VS8 = VI8;

constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kVectors = 2;  // of tokens in a tile
constexpr size_t kTile = kVectors * kLanes;
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3;  // 32 vector registers instead of 16
constexpr size_t kRows = kManyRegisters ? 6 : 4;
// A block of k whose tile of activations stays in the first-level cache.
constexpr size_t kBlock = 1024;

HWY_INLINE VS8 broadcast4(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return hn::BitCast(ds8, hn::Set(di, word));
}

#if !CAIRN_HAS_MADDUBS || CAIRN_HAS_VNNI
static_assert(kRows % 2 == 0);
HWY_INLINE void micro_values8(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                              const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup;
  // Two pointers and multiples of k reach all rows within x86's addressing modes.
  const int8_t* HWY_RESTRICT low = panel.values + row * k + begin;
  const int8_t* HWY_RESTRICT high = low + kRows / 2 * k;
  const uint8_t* HWY_RESTRICT a = tile.values + begin * kTile;
  const int32_t* HWY_RESTRICT corrections = panel.corrections + row * groups;
  const float* HWY_RESTRICT scales = panel.scales + row * groups;
  VF sum[kRows][kVectors];
  CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, sum[r][v] = hn::Zero(df)));
  for (size_t group = begin / kGroup; group < end / kGroup; ++group) {
    VI acc[kRows][kVectors];
    CAIRN_UNROLL(kRows, r, const VI start = hn::Set(di, corrections[r * groups + group]);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = start));
    const uint8_t* stop = a + kGroup * kTile;
    hide(stop);
    do {
      VU8 x[kVectors];
      CAIRN_UNROLL(kVectors, v, x[v] = hn::LoadU(du8, a + v * kLanes * 4));
      CAIRN_UNROLL(kRows, r,
                   const VS8 w = broadcast4(r < kRows / 2 ? low + r * k : high + (r - kRows / 2) * k);
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = Dot4(acc[r][v], x[v], w)));
      a += kTile * 4;
      low += 4;
      high += 4;
    } while (a != stop);
    VF scale[kVectors];
    CAIRN_UNROLL(kVectors, v, scale[v] = hn::LoadU(df, tile.scales + group * kTile + v * kLanes));
    CAIRN_UNROLL(kRows, r, const VF s = hn::Set(df, scales[r * groups + group]); CAIRN_UNROLL(
                     kVectors, v,
                     sum[r][v] = hn::MulAdd(hn::ConvertTo(df, acc[r][v]), hn::Mul(s, scale[v]), sum[r][v])));
  }
  CAIRN_UNROLL(
      kRows, r,
      CAIRN_UNROLL(kVectors, v, float* HWY_RESTRICT o = out + (row + r) * kTile + v * kLanes;
                   hn::StoreU(begin == 0 ? sum[r][v] : hn::Add(sum[r][v], hn::LoadU(df, o)), df, o)));
}
#endif

#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
const DI16 di16;

// Forms with one weight scale for each 32: 7-bit values, widened at every step, or 4-bit codes, whose sums
// over a whole group of 32 stay exact in 16 bits (255 · 8 · 16 = 32,640).
template <bool Codes4>
HWY_INLINE void micro_group32(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                              const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup;
  const VI16 ones = hn::Set(di16, int16_t{1});
  const int8_t* HWY_RESTRICT weights[kRows];
  CAIRN_UNROLL(kRows, r, weights[r] = panel.values + (row + r) * k);
  for (size_t kg = begin; kg < end; kg += kGroup) {
    const uint8_t* HWY_RESTRICT a = tile.values + kg * kTile;
    const size_t group = kg / kGroup;
    VI acc[kRows][kVectors];
    if constexpr (Codes4) {
      VI16 narrow[kRows][kVectors];
      CAIRN_UNROLL(kGroup / 4, step, VU8 x[kVectors];
                   CAIRN_UNROLL(kVectors, v, x[v] = hn::LoadU(du8, a + (step * kVectors + v) * kLanes * 4));
                   CAIRN_UNROLL(kRows, r, const VS8 w = broadcast4(weights[r] + kg + step * 4); CAIRN_UNROLL(
                                    kVectors, v, const VI16 product = Dot2(x[v], w);
                                    narrow[r][v] = step == 0 ? product : hn::Add(narrow[r][v], product);
                                    pin(narrow[r][v]))));
      CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = Dot2(narrow[r][v], ones)));
    } else {
      CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(di)));
      CAIRN_UNROLL(kGroup / 4, step, VU8 x[kVectors];
                   CAIRN_UNROLL(kVectors, v, x[v] = hn::LoadU(du8, a + (step * kVectors + v) * kLanes * 4));
                   CAIRN_UNROLL(kRows, r, const VS8 w = broadcast4(weights[r] + kg + step * 4); CAIRN_UNROLL(
                                    kVectors, v, acc[r][v] = hn::Add(acc[r][v], Dot2(Dot2(x[v], w), ones));
                                    pin(acc[r][v]))));
    }
    VF scale[kVectors];
    VF total[kVectors];
    CAIRN_UNROLL(kVectors, v, scale[v] = hn::LoadU(df, tile.scales + group * kTile + v * kLanes);
                 if constexpr (Codes4) total[v] = hn::LoadU(df, tile.sums + group * kTile + v * kLanes));
    CAIRN_UNROLL(
        kRows, r, const size_t at = (row + r) * groups + group;
        const VI correction = hn::Set(di, panel.corrections[at]); const VF s = hn::Set(df, panel.scales[at]);
        CAIRN_UNROLL(kVectors, v, float* HWY_RESTRICT o = out + (row + r) * kTile + v * kLanes;
                     const VF product = hn::ConvertTo(df, hn::Add(acc[r][v], correction));
                     VF base = kg == 0 ? hn::Zero(df) : hn::LoadU(df, o);
                     if constexpr (Codes4) base = hn::MulAdd(hn::Set(df, panel.offsets[at]), total[v], base);
                     hn::StoreU(hn::MulAdd(product, hn::Mul(s, scale[v]), base), df, o)));
  }
}
#endif

template <class Micro>
HWY_INLINE void for_blocks(size_t rows, size_t k, const Micro& micro) {
  const size_t blocks = (k + kBlock - 1) / kBlock;
  const size_t step = ((k + blocks - 1) / blocks + kGroup - 1) / kGroup * kGroup;
  for (size_t begin = 0; begin < k; begin += step) {
    const size_t end = begin + step < k ? begin + step : k;
    for (size_t row = 0; row < rows; row += kRows) micro(row, begin, end);
  }
}

void multiply(PanelForm form, const WeightPanel& panel, size_t rows, size_t k, const ActivationTile& tile,
              float* out) {
#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
  if (form == PanelForm::codes4) {
    for_blocks(rows, k, [&](size_t row, size_t begin, size_t end) HWY_ATTR {
      micro_group32<true>(panel, row, k, begin, end, tile, out);
    });
  } else {
    for_blocks(rows, k, [&](size_t row, size_t begin, size_t end) HWY_ATTR {
      micro_group32<false>(panel, row, k, begin, end, tile, out);
    });
  }
#else
  (void)form;
  for_blocks(rows, k, [&](size_t row, size_t begin, size_t end) HWY_ATTR {
    micro_values8(panel, row, k, begin, end, tile, out);
  });
#endif
}

void multiply_f32(const float* weights, size_t rows, size_t k, const float* x, float* out) {
  for (size_t row = 0; row < rows; row += kRows) {
    const float* HWY_RESTRICT w = weights + row * k;
    VF acc[kRows][kVectors];
    CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(df)));
    for (size_t i = 0; i < k; ++i) {
      VF a[kVectors];
      CAIRN_UNROLL(kVectors, v, a[v] = hn::LoadU(df, x + i * kTile + v * kLanes));
      CAIRN_UNROLL(kRows, r, const VF b = hn::Set(df, w[r * k + i]);
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::MulAdd(a[v], b, acc[r][v])));
    }
    CAIRN_UNROLL(kRows, r,
                 CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], df, out + (row + r) * kTile + v * kLanes)));
  }
}

void quantize_tile(const float* x, size_t k, const ActivationTile& tile) {
  for (size_t v = 0; v < kVectors; ++v) {
    for (size_t group = 0; group < k / kGroup; ++group) {
      const float* HWY_RESTRICT in = x + group * kGroup * kTile + v * kLanes;
      // A maximum drops NaN; x · 0 keeps it (and makes one of infinity), and the scale carries it on.
      VF largest = hn::Zero(df), poison = largest;
      for (size_t i = 0; i < kGroup; ++i) {
        const VF value = hn::LoadU(df, in + i * kTile);
        largest = hn::Max(largest, hn::Abs(value));
        poison = hn::MulAdd(value, hn::Zero(df), poison);
      }
      const VF scale = hn::MulAdd(largest, hn::Set(df, 1.0f / 127), poison);
      // The floor keeps 0 · (1 / 0) out of a group of zeros; such a group's scale is 0 all the same.
      const VF inverse = hn::Div(hn::Set(df, 127.0f), hn::Max(largest, hn::Set(df, 1e-30f)));
      VI total = hn::Zero(di);
      uint8_t* HWY_RESTRICT out = tile.values + group * kGroup * kTile + v * kLanes * 4;
      for (size_t i = 0; i < kGroup; i += 4) {
        VI word = hn::Zero(di);
        CAIRN_UNROLL(4, j, const VI q = hn::NearestInt(hn::Mul(hn::LoadU(df, in + (i + j) * kTile), inverse));
                     total = hn::Add(total, q);
                     word = hn::Or(word, hn::ShiftLeft<8 * j>(hn::And(q, hn::Set(di, 255)))));
        hn::StoreU(hn::BitCast(du8, hn::Xor(word, hn::Set(di, static_cast<int32_t>(0x80808080)))), du8,
                   out + i * kTile);
      }
      hn::StoreU(scale, df, tile.scales + group * kTile + v * kLanes);
      hn::StoreU(hn::Mul(scale, hn::ConvertTo(df, total)), df, tile.sums + group * kTile + v * kLanes);
    }
  }
}

}  // namespace

const GemmKernels& gemm_table() {
  static constexpr GemmKernels table{kTile,        kRows,         kCodes4,      kMostValue, &quantize_tile,
                                     &fill_floats, &fill_values8, &fill_codes4, &multiply,  &multiply_f32};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
