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
[[maybe_unused]] const DU8 du8;
const DI8 ds8;
using VF = VF32;
using VI = VI32;
using VS8 = VI8;

constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kVectors = 2;  // of tokens in a tile
constexpr size_t kTile = kVectors * kLanes;
constexpr size_t kRows = kPanelRows;
// A block of k whose tile of activations stays in the first-level cache.
constexpr size_t kBlock = 1024;

[[maybe_unused]] HWY_INLINE VS8 broadcast4(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return hn::BitCast(ds8, hn::Set(di, word));
}

// The tile's values in element k, vector v.
[[maybe_unused]] HWY_INLINE VS8 load_values(const int8_t* values, size_t k, size_t v) {
  return hn::LoadU(ds8, values + (k / 4 * kVectors + v) * kLanes * 4);
}

#if CAIRN_ISA_NEON
#include "kernels/targets/gemm_neon.inl"
#elif !CAIRN_HAS_MADDUBS || CAIRN_HAS_VNNI
static_assert(kRows % 2 == 0);
// Codes u8: those of form codes4, or values8's plus 128, whose sums start with −128 · Σ x.
template <bool kOffset>
HWY_INLINE void micro_codes(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                            const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup;
  // Two pointers and multiples of k reach all rows within x86's addressing modes.
  const int8_t* HWY_RESTRICT low = panel.values + row * k + begin;
  const int8_t* HWY_RESTRICT high = low + kRows / 2 * k;
  const int8_t* HWY_RESTRICT a = tile.values + begin * kTile;
  const float* HWY_RESTRICT scales = panel.scales + row * groups;
  const float* HWY_RESTRICT offsets = panel.offsets + row * groups;
  VF sum[kRows][kVectors];
  CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, sum[r][v] = hn::Zero(df)));
  for (size_t group = begin / kGroup; group < end / kGroup; ++group) {
    const size_t at = group * kTile;
    VI acc[kRows][kVectors];
    CAIRN_UNROLL(kVectors, v,
                 const VI start = kOffset ? hn::Zero(di) : hn::LoadU(di, tile.starts + at + v * kLanes);
                 CAIRN_UNROLL(kRows, r, acc[r][v] = start));
    const int8_t* stop = a + kGroup * kTile;
    hide(stop);
    do {
      VS8 x[kVectors];
      CAIRN_UNROLL(kVectors, v, x[v] = load_values(a, 0, v));
      CAIRN_UNROLL(kRows, r,
                   const VU8 w =
                       hn::BitCast(du8, broadcast4(r < kRows / 2 ? low + r * k : high + (r - kRows / 2) * k));
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = Dot4(acc[r][v], w, x[v])));
      a += kTile * 4;
      low += 4;
      high += 4;
    } while (a != stop);
    VF scale[kVectors], total[kVectors];
    CAIRN_UNROLL(kVectors, v, scale[v] = hn::LoadU(df, tile.scales + at + v * kLanes);
                 total[v] = kOffset ? hn::LoadU(df, tile.sums + at + v * kLanes) : hn::Zero(df));
    CAIRN_UNROLL(kRows, r, const VF s = hn::Set(df, scales[r * groups + group]); CAIRN_UNROLL(
                     kVectors, v,
                     if constexpr (kOffset) sum[r][v] =
                         hn::MulAdd(hn::Set(df, offsets[r * groups + group]), total[v], sum[r][v]);
                     sum[r][v] = hn::MulAdd(hn::ConvertTo(df, acc[r][v]), hn::Mul(s, scale[v]), sum[r][v])));
  }
  CAIRN_UNROLL(
      kRows, r,
      CAIRN_UNROLL(kVectors, v, float* HWY_RESTRICT o = out + (row + r) * kTile + v * kLanes;
                   hn::StoreU(begin == 0 ? sum[r][v] : hn::Add(sum[r][v], hn::LoadU(df, o)), df, o)));
}

// ActivationTile's starts and sums of a group, for vector v of the tile.
HWY_INLINE void store_sums(const int8_t* HWY_RESTRICT values, VF scale, size_t at, size_t,
                           const ActivationTile& tile) {
  VI total = hn::Zero(di);
  CAIRN_UNROLL(kGroup / 4, i,
               total = Dot4(total, hn::Set(du8, uint8_t{1}), hn::LoadU(ds8, values + i * 4 * kTile)));
  hn::StoreU(hn::Neg(hn::ShiftLeft<7>(total)), di, tile.starts + at);
  hn::StoreU(hn::Mul(scale, hn::ConvertTo(df, total)), df, tile.sums + at);
}
#else
const DI16 di16;

// Adds scale · x's scale · sums [+ offset · x's sum] to a row of `out`.
template <bool kOffset>
HWY_INLINE void accumulate(VI sums, VF scale, VF x_scale, VF offset, VF x_sum, bool first,
                           float* HWY_RESTRICT out) {
  VF base = first ? hn::Zero(df) : hn::LoadU(df, out);
  if constexpr (kOffset) base = hn::MulAdd(offset, x_sum, base);
  hn::StoreU(hn::MulAdd(hn::ConvertTo(df, sums), hn::Mul(scale, x_scale), base), df, out);
}

// Codes, kLength = 32 or 16 of them to a scale, whose sums stay exact in 16 bits. Additions may wrap: what
// counts is the whole sum. codes4: 15 · 127 · 16 = 30,480. The others start with −16 (−32) · Σ x, which makes
// a sum that of code − 16 (code − 32): 16 · 127 · 16 = 32 · 127 · 8 = 32,512. starts and half_starts hold
// these for both 16-bit halves of a lane.
template <size_t kLength, bool kStart, bool kOffset>
HWY_INLINE void micro_codes(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                            const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kLength;
  const VI16 ones = hn::Set(di16, int16_t{1});
  const int32_t* HWY_RESTRICT starts = kLength == kGroup ? tile.starts : tile.half_starts;
  const int8_t* HWY_RESTRICT weights[kRows];
  CAIRN_UNROLL(kRows, r, weights[r] = panel.values + (row + r) * k);
  for (size_t kg = begin; kg < end; kg += kLength) {
    const int8_t* HWY_RESTRICT a = tile.values + kg * kTile;
    const size_t group = kg / kLength;
    VI16 start[kVectors];
    if constexpr (kStart || (kOffset && kLength < kGroup))
      CAIRN_UNROLL(kVectors, v,
                   start[v] = hn::BitCast(di16, hn::LoadU(di, starts + group * kTile + v * kLanes)));
    VI16 sums[kRows][kVectors];
    CAIRN_UNROLL(
        kLength / 4, step, VS8 x[kVectors]; CAIRN_UNROLL(kVectors, v, x[v] = load_values(a, 4 * step, v));
        CAIRN_UNROLL(kRows, r, const VU8 w = hn::BitCast(du8, broadcast4(weights[r] + kg + step * 4));
                     CAIRN_UNROLL(kVectors, v, const VI16 product = Dot2(w, x[v]);
                                  if constexpr (step > 0) sums[r][v] = hn::Add(sums[r][v], product);
                                  else if constexpr (kStart) sums[r][v] = hn::Add(start[v], product);
                                  else sums[r][v] = product; pin(sums[r][v]))));
    VF x_scale[kVectors];
    VF x_sum[kVectors];
    const size_t scale = kg / kGroup * kTile;
    CAIRN_UNROLL(
        kVectors, v, x_scale[v] = hn::LoadU(df, tile.scales + scale + v * kLanes);
        if constexpr (!kOffset) x_sum[v] = hn::Zero(df);
        else if constexpr (kLength == kGroup) x_sum[v] = hn::LoadU(df, tile.sums + scale + v * kLanes);
        else x_sum[v] =
            hn::Mul(hn::ConvertTo(df, Dot2(start[v], ones)), hn::Mul(x_scale[v], hn::Set(df, -1.0f / 32))));
    CAIRN_UNROLL(kRows, r, const size_t at = (row + r) * groups + group;
                 const VF s = hn::Set(df, panel.scales[at]);
                 const VF offset = kOffset ? hn::Set(df, panel.offsets[at]) : hn::Zero(df);
                 CAIRN_UNROLL(kVectors, v,
                              accumulate<kOffset>(Dot2(sums[r][v], ones), s, x_scale[v], offset, x_sum[v],
                                                  kg == 0, out + (row + r) * kTile + v * kLanes)));
  }
}

// Any 8-bit values. |w|, at most 128, is the unsigned side; the signed one is x or, where w is negative, ~x =
// −x − 1, of which the correction takes the 1 back. Two products fit in 16 bits: 128 · 127 · 2 = 32,512, and
// 128 · −128 · 2 = −32,768.
HWY_INLINE void micro_values8(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                              const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup;
  const VI16 ones = hn::Set(di16, int16_t{1});
  const int8_t* HWY_RESTRICT weights[kRows];
  CAIRN_UNROLL(kRows, r, weights[r] = panel.values + (row + r) * k * kValues8Bytes);
  for (size_t kg = begin; kg < end; kg += kGroup) {
    const int8_t* HWY_RESTRICT a = tile.values + kg * kTile;
    VI sums[kRows][kVectors];
    const size_t group = kg / kGroup;
    CAIRN_UNROLL(kRows, r, const VI start = hn::Set(di, panel.corrections[(row + r) * groups + group]);
                 CAIRN_UNROLL(kVectors, v, sums[r][v] = start));
    CAIRN_UNROLL(
        kGroup / 4, step, VS8 x[kVectors]; CAIRN_UNROLL(kVectors, v, x[v] = load_values(a, 4 * step, v));
        CAIRN_UNROLL(
            kRows, r, const int8_t* p = weights[r] + (kg + step * 4) * kValues8Bytes;
            const VS8 signs = broadcast4(p); const VU8 size = hn::BitCast(du8, broadcast4(p + 4));
            CAIRN_UNROLL(kVectors, v,
                         sums[r][v] = hn::Add(sums[r][v], Dot2(Dot2(size, hn::Xor(x[v], signs)), ones));
                         pin(sums[r][v]))));
    VF x_scale[kVectors];
    CAIRN_UNROLL(kVectors, v, x_scale[v] = hn::LoadU(df, tile.scales + group * kTile + v * kLanes));
    CAIRN_UNROLL(kRows, r, const VF s = hn::Set(df, panel.scales[(row + r) * groups + group]);
                 CAIRN_UNROLL(kVectors, v,
                              accumulate<false>(sums[r][v], s, x_scale[v], s, s, kg == 0,
                                                out + (row + r) * kTile + v * kLanes)));
  }
}

// ActivationTile's starts and sums of a group, whose first vector lies at `at`, for vector v of the tile.
HWY_INLINE void store_sums(const int8_t* HWY_RESTRICT values, VF scale, size_t at, size_t first,
                           const ActivationTile& tile) {
  const VU8 ones = hn::Set(du8, uint8_t{1});
  VI16 half[2];
  CAIRN_UNROLL(
      2, h, half[h] = hn::Zero(di16); CAIRN_UNROLL(
          4, i, half[h] = hn::Add(half[h], Dot2(ones, hn::LoadU(ds8, values + (h * 16 + i * 4) * kTile))));
      hn::StoreU(hn::BitCast(di, hn::Neg(hn::ShiftLeft<5>(half[h]))), di,
                 tile.half_starts + at + first + h * kTile));
  const VI16 whole = hn::Add(half[0], half[1]);
  hn::StoreU(hn::BitCast(di, hn::Neg(hn::ShiftLeft<4>(whole))), di, tile.starts + at);
  const VI total = Dot2(whole, hn::Set(di16, int16_t{1}));
  hn::StoreU(hn::Mul(scale, hn::ConvertTo(df, total)), df, tile.sums + at);
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
#define CAIRN_MULTIPLY(...)                                                \
  for_blocks(rows, k, [&](size_t row, size_t begin, size_t end) HWY_ATTR { \
    __VA_ARGS__(panel, row, k, begin, end, tile, out);                     \
  })
#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
  switch (form) {
    case PanelForm::codes4:
      return CAIRN_MULTIPLY(micro_codes<32, false, true>);
    case PanelForm::codes5:
      return CAIRN_MULTIPLY(micro_codes<32, true, false>);
    case PanelForm::codes5_offset:
      return CAIRN_MULTIPLY(micro_codes<32, true, true>);
    case PanelForm::codes6:
      return CAIRN_MULTIPLY(micro_codes<16, true, false>);
    case PanelForm::codes6_offset:
      return CAIRN_MULTIPLY(micro_codes<16, true, true>);
    case PanelForm::values8:
      break;
  }
  CAIRN_MULTIPLY(micro_values8);
#elif CAIRN_ISA_NEON
  if (form == PanelForm::codes4) {
    for_blocks(rows, k, [&](size_t row, size_t begin, size_t end) HWY_ATTR {
      micro_values<true>(panel, row, k, begin, end, tile, out);
      add_offsets(panel, row, k, begin, end, tile, out);
    });
    return;
  }
  CAIRN_MULTIPLY(micro_values<false>);
#else
  if (form == PanelForm::codes4) return CAIRN_MULTIPLY(micro_codes<true>);
  CAIRN_MULTIPLY(micro_codes<false>);
#endif
#undef CAIRN_MULTIPLY
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
      int8_t* HWY_RESTRICT out = tile.values + group * kGroup * kTile + v * kLanes * kStepOfK;
#if CAIRN_HAS_SMMLA
      quantize_group(in, inverse, out);
#else
      for (size_t i = 0; i < kGroup; i += 4) {
        VI word = hn::Zero(di);
        CAIRN_UNROLL(4, j, const VI q = hn::NearestInt(hn::Mul(hn::LoadU(df, in + (i + j) * kTile), inverse));
                     word = hn::Or(word, hn::ShiftLeft<8 * j>(hn::And(q, hn::Set(di, 255)))));
        hn::StoreU(hn::BitCast(ds8, word), ds8, out + i * kTile);
      }
#endif
      const size_t at = group * kTile + v * kLanes;
      hn::StoreU(scale, df, tile.scales + at);
      store_sums(out, scale, at, group * kTile, tile);
    }
  }
}

}  // namespace

const GemmKernels& gemm_table() {
  static constexpr GemmKernels table{kTile,          kRows,     kHasHalves,         kValues8Bytes,
                                     kValues8Zero,   kStepOfK,  kPanelRowsTogether, kPanelScalesTogether,
                                     &quantize_tile, &multiply, &multiply_f32};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
