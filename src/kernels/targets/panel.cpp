// Filling a panel of weights, row by row; see kernels/gemm.hpp.
#include "kernels/targets/panel.hpp"

#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const DF32 df;
using VF = VF32;
constexpr size_t kLanes = HWY_LANES(float);

// x between the two, and a number where x is none: a file's scales may be anything.
HWY_INLINE VF within(VF x, float low, float high) {
  return hn::Min(hn::Max(hn::Set(df, low), x), hn::Set(df, high));
}

#if CAIRN_HAS_MADDUBS
using Group = hn::CappedTag<uint8_t, kGroup>;

// The sums of four groups of bytes, 16 bits each: partial sums of eight bytes go side by side before they are
// added up. get(i): group i's bytes, i < 4.
template <class Get>
HWY_INLINE uint64_t sum_groups(const Get& get) {
  const hn::Repartition<uint64_t, Group> d64;
  auto partial = hn::Zero(d64);
  CAIRN_UNROLL(4, i, partial = hn::Or(partial, hn::ShiftLeft<16 * i>(hn::SumsOf8(get(i)))));
  return hn::GetLane(hn::SumOfLanes(d64, partial));
}
#endif

}  // namespace

void fill_values8(size_t k, const int8_t* values, int32_t* corrections) {
  size_t group = 0;
#if CAIRN_HAS_MADDUBS
  const Group bytes;
  const hn::CappedTag<int32_t, 4> d32;
  const hn::Rebind<uint16_t, decltype(d32)> d16;
  for (; group + 4 <= k / kGroup; group += 4) {
    const uint64_t four = sum_groups([&](size_t i) HWY_ATTR {
      const auto signed_bytes =
          hn::LoadU(bytes, reinterpret_cast<const uint8_t*>(values) + (group + i) * kGroup);
      return hn::Xor(signed_bytes, hn::Set(bytes, 0x80));
    });
    uint16_t sums[4];
    __builtin_memcpy(sums, &four, sizeof(four));
    const auto total = hn::Sub(hn::PromoteTo(d32, hn::LoadU(d16, sums)), hn::Set(d32, 128 * int32_t{kGroup}));
    hn::StoreU(hn::Neg(hn::ShiftLeft<7>(total)), d32, corrections + group);
  }
#endif
  for (; group < k / kGroup; ++group) {
    int32_t total = 0;
    for (size_t i = group * kGroup; i < (group + 1) * kGroup; ++i) total += values[i];
    corrections[group] = -128 * total;
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
      const VF x = within(hn::Mul(hn::LoadU(df, row + i), inverse), -kMostValue, kMostValue);
      hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(x)), d8, values + i);
    }
  }
  fill_values8(k, values, corrections);
}

namespace {
#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
// Form codes4: the codes lose 8, the offsets take it.
HWY_INLINE void prepare_codes4(size_t k, uint8_t* codes, const float* scales, float* offsets) {
  const DU8 du8;
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
    // A smaller n is coarser: it has to earn its place.
    const VF error = hn::Mul(hn::Abs(hn::Sub(exact, hn::Round(exact))), hn::ApproximateReciprocal(n));
    const auto better = hn::Lt(error, least);
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
  const Group d8;
  static_assert(kLanes % 4 == 0);
  for (size_t first = 0; first < kLanes; first += 4) {
    const uint64_t four = sum_groups([&](size_t i) HWY_ATTR {
      const size_t g = first + i;
      const auto in = hn::LoadU(d8, codes + g * kGroup);
      const auto table =
          hn::Add(hn::LoadDup128(d8, kMultiples.row[n[g]]), hn::Set(d8, static_cast<uint8_t>(start[g])));
      hn::StoreU(hn::TableLookupBytes(table, in), d8, codes + g * kGroup);
      return in;
    });
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
  const DI32 di;
  const hn::Rebind<uint16_t, DI32> d16;
  const VF scale = hn::LoadU(df, scales), offset = hn::LoadU(df, offsets);
  const Steps steps = choose_steps(scale, offset);
  const VF most = hn::MulAdd(steps.n, hn::Set(df, 15.0f), steps.start);
  const auto beyond = hn::Or(hn::Lt(steps.start, hn::Set(df, -127.0f)), hn::Gt(most, hn::Set(df, 127.0f)));
  uint8_t before[kLanes * kGroup];
  const bool all_fit = hn::AllFalse(df, beyond);
  if (!all_fit) __builtin_memcpy(before, codes, sizeof(before));
  // n becomes an index here.
  const VI32 n = hn::ConvertTo(di, within(steps.n, 1, 15));
  const VI32 start = hn::ConvertTo(di, within(steps.start, -127, 127));
  int32_t each_n[kLanes], each_start[kLanes];
  uint16_t sums[kLanes];
  hn::StoreU(n, di, each_n);
  hn::StoreU(start, di, each_start);
  step_groups(each_n, each_start, codes, sums);
  const VI32 total = hn::Add(hn::Mul(n, hn::PromoteTo(di, hn::LoadU(d16, sums))), hn::ShiftLeft<5>(start));
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

}  // namespace

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

}  // namespace cairn::kernels::CAIRN_TARGET
