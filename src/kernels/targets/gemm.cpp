// Prefill's matrix product; see kernels/gemm.hpp for the layouts.
#include "kernels/gemm.hpp"

#include <hwy/highway.h>

#include "kernels/dot.hpp"
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

#if CAIRN_HAS_VNNI || !CAIRN_HAS_MADDUBS
constexpr size_t kWeightGroup = 128;
constexpr bool kCodes4 = false;
constexpr float kWeightMax = 127;
#else
// Two u8·s7 products fit in the 16 bits that the pairwise multiply-add saturates to.
constexpr size_t kWeightGroup = 32;
constexpr bool kCodes4 = true;
constexpr float kWeightMax = 63;
#endif

HWY_INLINE VS8 broadcast4(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return hn::BitCast(ds8, hn::Set(di, word));
}

// values8 with weight groups larger than 32: within a group only the activations' scales differ.
template <size_t Group>
HWY_INLINE void micro_values8(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                              const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup, weight_groups = (k + Group - 1) / Group;
  const int8_t* HWY_RESTRICT weights[kRows];
  const int32_t* HWY_RESTRICT corrections[kRows];
  CAIRN_UNROLL(kRows, r, weights[r] = panel.values + (row + r) * k;
               corrections[r] = panel.corrections + (row + r) * groups);
  for (size_t k0 = begin; k0 < end; k0 += Group) {
    const size_t k1 = k0 + Group < end ? k0 + Group : end;
    VF sum[kRows][kVectors];
    CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, sum[r][v] = hn::Zero(df)));
    for (size_t kg = k0; kg < k1; kg += kGroup) {
      VI acc[kRows][kVectors];
      CAIRN_UNROLL(kRows, r, const VI start = hn::Set(di, corrections[r][kg / kGroup]);
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = start));
      const uint8_t* HWY_RESTRICT a = tile.values + kg * kTile;
      CAIRN_UNROLL(kGroup / 4, step, VU8 x[kVectors];
                   CAIRN_UNROLL(kVectors, v, x[v] = hn::LoadU(du8, a + (step * kVectors + v) * kLanes * 4));
                   CAIRN_UNROLL(kRows, r, const VS8 w = broadcast4(weights[r] + kg + step * 4); CAIRN_UNROLL(
                                    kVectors, v, acc[r][v] = Dot4(acc[r][v], x[v], w); pin(acc[r][v]))));
      CAIRN_UNROLL(
          kVectors, v, const VF s = hn::LoadU(df, tile.scales + kg / kGroup * kTile + v * kLanes);
          CAIRN_UNROLL(kRows, r, sum[r][v] = hn::MulAdd(hn::ConvertTo(df, acc[r][v]), s, sum[r][v])));
    }
    CAIRN_UNROLL(kRows, r, const VF s = hn::Set(df, panel.scales[(row + r) * weight_groups + k0 / Group]);
                 CAIRN_UNROLL(kVectors, v, float* HWY_RESTRICT o = out + (row + r) * kTile + v * kLanes;
                              const VF scaled = hn::Mul(sum[r][v], s);
                              hn::StoreU(k0 == 0 ? scaled : hn::Add(scaled, hn::LoadU(df, o)), df, o)));
  }
}

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
  const size_t step = ((k + blocks - 1) / blocks + kWeightGroup - 1) / kWeightGroup * kWeightGroup;
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
    micro_values8<kWeightGroup>(panel, row, k, begin, end, tile, out);
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
      VF largest = hn::Zero(df);
      for (size_t i = 0; i < kGroup; ++i) largest = hn::Max(largest, hn::Abs(hn::LoadU(df, in + i * kTile)));
      const VF scale = hn::Mul(largest, hn::Set(df, 1.0f / 127));
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

void fill_values8(const float* row, size_t k, int8_t* values, int32_t* corrections, float* scales) {
  const hn::Rebind<int8_t, decltype(di)> d8;
  for (size_t k0 = 0; k0 < k; k0 += kWeightGroup) {
    const size_t k1 = k0 + kWeightGroup < k ? k0 + kWeightGroup : k;
    VF largest = hn::Zero(df);
    for (size_t i = k0; i < k1; i += kLanes) largest = hn::Max(largest, hn::Abs(hn::LoadU(df, row + i)));
    const float top = hn::GetLane(hn::MaxOfLanes(df, largest));
    scales[k0 / kWeightGroup] = top / kWeightMax;
    const VF inverse = hn::Set(df, top > 0 ? kWeightMax / top : 0);
    for (size_t kg = k0; kg < k1; kg += kGroup) {
      VI total = hn::Zero(di);
      for (size_t i = kg; i < kg + kGroup; i += kLanes) {
        const VI q = hn::NearestInt(hn::Mul(hn::LoadU(df, row + i), inverse));
        total = hn::Add(total, q);
        hn::StoreU(hn::DemoteTo(d8, q), d8, values + i);
      }
      corrections[kg / kGroup] = -128 * hn::GetLane(hn::SumOfLanes(di, total));
    }
  }
}

void fill_codes4(size_t k, uint8_t* codes, const float* scales, int32_t* corrections, float* offsets) {
  for (size_t group = 0; group < k / kGroup; ++group) {
    int32_t total = 0;
    for (size_t i = group * kGroup; i < (group + 1) * kGroup; ++i) {
      const int32_t value = static_cast<int32_t>(codes[i]) - 8;
      total += value;
      codes[i] = static_cast<uint8_t>(value);
    }
    corrections[group] = -128 * total;
    offsets[group] += 8 * scales[group];
  }
}

}  // namespace

const GemmKernels& gemm_table() {
  static constexpr GemmKernels table{kTile,         kRows,        kWeightGroup, kCodes4,      &quantize_tile,
                                     &fill_values8, &fill_codes4, &multiply,    &multiply_f32};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
