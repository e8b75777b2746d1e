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
constexpr bool kCodes4 = false;
constexpr int kMostValue = 127;
#else
// Two u8·s7 products fit in the 16 bits that the pairwise multiply-add saturates to.
constexpr bool kCodes4 = true;
constexpr int kMostValue = 63;
#endif

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

void fill_values8(size_t k, const int8_t* values, int32_t* corrections) {
  constexpr size_t kBytes = kLanes * 4 < kGroup ? kLanes * 4 : kGroup;  // of a group at a time
  const hn::CappedTag<uint8_t, kBytes> d8;
  const hn::Repartition<uint64_t, decltype(d8)> d64;
  for (size_t group = 0; group < k / kGroup; ++group) {
    uint64_t parts[kBytes / 8];
    uint64_t total = 0;
    for (size_t i = 0; i < kGroup; i += kBytes) {
      const auto bytes = hn::LoadU(d8, reinterpret_cast<const uint8_t*>(values + group * kGroup + i));
      hn::StoreU(hn::SumsOf8(hn::Xor(bytes, hn::Set(d8, 0x80))), d64, parts);
      for (size_t j = 0; j < kBytes / 8; ++j) total += parts[j];
    }
    corrections[group] = -128 * (static_cast<int32_t>(total) - 128 * static_cast<int32_t>(kGroup));
  }
}

void fill_floats(const float* row, size_t k, int8_t* values, int32_t* corrections, float* scales) {
  const hn::Rebind<int8_t, DI32> d8;
  for (size_t kg = 0; kg < k; kg += kGroup) {
    VF largest = hn::Zero(df);
    for (size_t i = kg; i < kg + kGroup; i += kLanes)
      largest = hn::Max(largest, hn::Abs(hn::LoadU(df, row + i)));
    const float top = hn::GetLane(hn::MaxOfLanes(df, largest));
    scales[kg / kGroup] = top / kMostValue;
    const VF inverse = hn::Set(df, kMostValue / (top > 1e-30f ? top : 1e-30f));
    for (size_t i = kg; i < kg + kGroup; i += kLanes) {
      hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(hn::Mul(hn::LoadU(df, row + i), inverse))), d8, values + i);
    }
  }
  fill_values8(k, values, corrections);
}

#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
// Form codes4: the codes lose 8, the offsets take it.
HWY_INLINE void prepare_codes4(size_t k, uint8_t* codes, const float* scales, float* offsets) {
  const VU8 eight = hn::Set(du8, 8);
  size_t i = 0;
  for (; i + kLanes * 4 <= k; i += kLanes * 4)
    hn::StoreU(hn::Sub(hn::LoadU(du8, codes + i), eight), du8, codes + i);
  for (; i < k; ++i) codes[i] = static_cast<uint8_t>(codes[i] - 8);
  for (size_t group = 0; group < k / kGroup; ++group) offsets[group] += 8 * scales[group];
}

#else
// Form values8 from codes: n and round(n · offset / scale) of kLanes groups at once.
struct Steps {
  VF n, start;
};
HWY_INLINE Steps choose_steps(VF scale, VF offset) {
  const VF tiny = hn::Set(df, 1e-30f), most = hn::Set(df, kMostValue);
  const VF safe = hn::IfThenElse(hn::Lt(hn::Abs(scale), tiny), tiny, scale);
  const VF ratio = hn::Div(offset, safe);  // w / scale = code + ratio
  const VF largest = hn::Max(hn::Abs(ratio), hn::Abs(hn::Add(ratio, hn::Set(df, 15.0f))));
  // Nothing is gained beyond 15: the codes have 15 steps.
  const VF top = hn::Max(hn::Set(df, 1.0f), hn::Min(hn::Set(df, 15.0f), hn::Floor(hn::Div(most, largest))));
  VF best = top, least = hn::Set(df, 2.0f);
  for (int i = 0; i < 8; ++i) {
    const VF n = hn::Max(hn::Set(df, 1.0f), hn::Sub(top, hn::Set(df, static_cast<float>(i))));
    const VF exact = hn::Mul(n, ratio);
    const VF error = hn::Abs(hn::Sub(exact, hn::Round(exact)));
    // A smaller n is coarser: it has to earn its place. error / n < least / best
    const auto better = hn::Lt(hn::Mul(error, best), hn::Mul(least, n));
    best = hn::IfThenElse(better, n, best);
    least = hn::IfThenElse(better, error, least);
  }
  return {best, hn::Round(hn::Mul(best, ratio))};
}

#if CAIRN_HAS_MADDUBS
// Byte i of row n: i · n, for table lookups.
struct Multiples {
  constexpr Multiples() : row() {
    for (int n = 0; n < 16; ++n)
      for (int i = 0; i < 16; ++i) row[n][i] = static_cast<uint8_t>(n * i);
  }
  alignas(16) uint8_t row[16][16];
};
constexpr Multiples kMultiples;

// codes become start + n · code, for kLanes groups; sums: Σ of each group's codes.
HWY_INLINE void step_groups(const int32_t* n, const int32_t* start, uint8_t* HWY_RESTRICT codes,
                            uint16_t* HWY_RESTRICT sums) {
  const hn::CappedTag<uint8_t, kGroup> d8;
  const hn::Repartition<uint64_t, decltype(d8)> d64;
  static_assert(kLanes % 4 == 0);
  for (size_t first = 0; first < kLanes; first += 4) {
    // Four groups' sums of eight codes each go side by side, 16 bits each, before they are added up.
    auto partial = hn::Zero(d64);
    CAIRN_UNROLL(4, i, const size_t g = first + i; uint8_t* group = codes + g * kGroup;
                 const auto in = hn::LoadU(d8, group);
                 const auto table = hn::Add(hn::LoadDup128(d8, kMultiples.row[n[g]]),
                                            hn::Set(d8, static_cast<uint8_t>(start[g])));
                 hn::StoreU(hn::TableLookupBytes(table, in), d8, group);
                 partial = hn::Or(partial, hn::ShiftLeft<16 * i>(hn::SumsOf8(in))));
    const uint64_t four = hn::GetLane(hn::SumOfLanes(d64, partial));
    __builtin_memcpy(sums + first, &four, sizeof(four));
  }
}
#else
HWY_INLINE void step_groups(const int32_t* n, const int32_t* start, uint8_t* codes, uint16_t* sums) {
  for (size_t g = 0; g < kLanes; ++g) {
    sums[g] = 0;
    for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      sums[g] = static_cast<uint16_t>(sums[g] + codes[i]);
      codes[i] = static_cast<uint8_t>(start[g] + codes[i] * n[g]);
    }
  }
}
#endif

// kLanes groups; codes, scales, offsets and corrections have room for all.
HWY_INLINE void fill_steps(uint8_t* codes, float* scales, const float* offsets, int32_t* corrections) {
  const hn::Rebind<uint16_t, DI32> d16;
  const VF scale = hn::LoadU(df, scales), offset = hn::LoadU(df, offsets);
  const Steps steps = choose_steps(scale, offset);
  const VF most = hn::MulAdd(steps.n, hn::Set(df, 15.0f), steps.start);
  const auto beyond = hn::Or(hn::Lt(steps.start, hn::Set(df, -127.0f)), hn::Gt(most, hn::Set(df, 127.0f)));
  uint8_t before[kLanes * kGroup];
  const bool all_fit = hn::AllFalse(df, beyond);
  if (!all_fit) __builtin_memcpy(before, codes, sizeof(before));
  // A file's scale may be NaN, and then so is n, which becomes an index here.
  const VI n = hn::Min(hn::Max(hn::ConvertTo(di, steps.n), hn::Set(di, 1)), hn::Set(di, 15));
  const VI start = hn::ConvertTo(di, steps.start);
  int32_t each_n[kLanes], each_start[kLanes];
  uint16_t sums[kLanes];
  hn::StoreU(n, di, each_n);
  hn::StoreU(start, di, each_start);
  step_groups(each_n, each_start, codes, sums);
  const VI total = hn::Add(hn::Mul(n, hn::PromoteTo(di, hn::LoadU(d16, sums))), hn::ShiftLeft<5>(start));
  hn::StoreU(hn::Neg(hn::ShiftLeft<7>(total)), di, corrections);
  hn::StoreU(hn::Div(scale, steps.n), df, scales);
  if (all_fit) return;
  // Where the offset dwarfs the codes' steps, 8 bits of the whole range are all that fits.
  float each_scale[kLanes], unfit[kLanes];
  hn::StoreU(scale, df, each_scale);
  hn::StoreU(hn::IfThenElseZero(beyond, hn::Set(df, 1.0f)), df, unfit);
  for (size_t g = 0; g < kLanes; ++g) {
    if (unfit[g] == 0) continue;
    float row[kGroup];
    for (size_t i = 0; i < kGroup; ++i)
      row[i] = each_scale[g] * static_cast<float>(before[g * kGroup + i]) + offsets[g];
    fill_floats(row, kGroup, reinterpret_cast<int8_t*>(codes) + g * kGroup, corrections + g, scales + g);
  }
}
#endif

void fill_codes4(size_t k, uint8_t* codes, float* scales, int32_t* corrections, float* offsets) {
#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
  prepare_codes4(k, codes, scales, offsets);
  fill_values8(k, reinterpret_cast<const int8_t*>(codes), corrections);
#else
  const size_t groups = k / kGroup, whole = groups / kLanes * kLanes, rest = groups - whole;
  for (size_t g = 0; g < whole; g += kLanes)
    fill_steps(codes + g * kGroup, scales + g, offsets + g, corrections + g);
  if (rest == 0) return;
  uint8_t last_codes[kLanes * kGroup] = {};
  float last_scales[kLanes] = {}, last_offsets[kLanes] = {};
  int32_t last_corrections[kLanes];
  __builtin_memcpy(last_codes, codes + whole * kGroup, rest * kGroup);
  __builtin_memcpy(last_scales, scales + whole, rest * sizeof(float));
  __builtin_memcpy(last_offsets, offsets + whole, rest * sizeof(float));
  fill_steps(last_codes, last_scales, last_offsets, last_corrections);
  __builtin_memcpy(codes + whole * kGroup, last_codes, rest * kGroup);
  __builtin_memcpy(scales + whole, last_scales, rest * sizeof(float));
  __builtin_memcpy(corrections + whole, last_corrections, rest * sizeof(int32_t));
#endif
}

}  // namespace

const GemmKernels& gemm_table() {
  static constexpr GemmKernels table{kTile,        kRows,         kCodes4,      kMostValue, &quantize_tile,
                                     &fill_floats, &fill_values8, &fill_codes4, &multiply,  &multiply_f32};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
