// Decode's matrix-vector product on ARM64, on the blocks as they lie in the file, for any encoding that
// lanes.hpp describes; the sums are those of gemv_x86.hpp.
//
// A dot product of a group leaves four lanes; those of four groups (or halves, where these have scales of
// their own) are added across, so that scaling, like adding what centres codes, takes a vector for four of
// them.
#pragma once

#include "kernels/encodings/gemv_portable.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// A token's activations as they are, and for each scale of a row of weights: the activations' own scale, what
// its sum starts with (−kZero · Σ x) and scale · Σ x.
struct NeonInput {
  const int8_t *values, *rest;
  const float* scales;
  const int32_t* starts;
  const float* sums;
};

// Scales of a row, rounded up so that four can be read from each on.
template <class E>
constexpr size_t ScalesOfRow(size_t k) {
  return (k / kGroup * E::kSubscales + 3 + 3) / 4 * 4;
}
template <class E>
size_t PreparedNeonBytes(size_t k, size_t count, bool) {
  return count * (sizeof(NeonInput) + 3 * ScalesOfRow<E>(k) * sizeof(float));
}

template <class E>
void PrepareNeon(const VectorBatch& x, size_t k, void* prepared) {
  constexpr size_t kSub = E::kSubscales, kPart = kGroup / kSub;
  const size_t room = ScalesOfRow<E>(k);
  auto* inputs = static_cast<NeonInput*>(prepared);
  auto* at = reinterpret_cast<float*>(inputs + x.count);
  for (size_t i = 0; i < x.count; ++i, at += 3 * room) {
    const QuantizedVector& v = x.x[i];
    const QuantizedVector* rest = x.rest != nullptr ? x.rest + i : nullptr;
    auto* starts = reinterpret_cast<int32_t*>(at + room);
    float* sums = at + 2 * room;
    for (size_t s = 0; s < room; ++s) {
      at[s] = sums[s] = 0;
      starts[s] = 0;
      if (s >= k / kGroup * kSub) continue;
      int32_t sum = 0;
      for (size_t j = s * kPart; j < (s + 1) * kPart; ++j)
        sum += rest != nullptr ? kFineSteps * v.values[j] + rest->values[j] : v.values[j];
      at[s] = (rest != nullptr ? *rest : v).scales[s / kSub];
      starts[s] = -E::kZero * sum;
      sums[s] = at[s] * static_cast<float>(sum);
      if (kSub == 1) sums[s] = rest != nullptr ? v.sums[s] + rest->sums[s] : v.sums[s];
    }
    inputs[i] = {v.values, rest != nullptr ? rest->values : nullptr, at, starts, sums};
  }
}

// start + Σ codes · x over the half of a group, or over all of it, in four parts.
template <class E>
HWY_INLINE int32x4_t AddDot(int32x4_t start, VU8 codes, VI8 x) {
  return DotNative(VI32{start}, hn::BitCast(DI8(), codes), x).raw;
}
template <class E>
HWY_INLINE int32x4_t AddDot(int32x4_t start, const StepCodes& codes, VI8 x_low, VI8 x_high) {
#if CAIRN_HAS_SDOT
  return AddDot<E>(AddDot<E>(start, codes.half[0], x_low), codes.half[1], x_high);
#else
  // Two products of any bytes fit in 16 bits, four of codes up to 64.
  const int8x16_t low = vreinterpretq_s8_u8(codes.half[0].raw), high = vreinterpretq_s8_u8(codes.half[1].raw);
  int16x8_t sum = vmull_s8(vget_low_s8(low), vget_low_s8(x_low.raw));
  sum = vmlal_high_s8(sum, low, x_low.raw);
  if constexpr (E::kSigned || E::kMostCode > 64) {
    start = vpadalq_s16(start, sum);
    sum = vmull_s8(vget_low_s8(high), vget_low_s8(x_high.raw));
  } else {
    sum = vmlal_s8(sum, vget_low_s8(high), vget_low_s8(x_high.raw));
  }
  return vpadalq_s16(start, vmlal_high_s8(sum, high, x_high.raw));
#endif
}

// Four scales' codes of a chunk: four groups, or two whose halves have a scale each.
template <class E, int kFirst, int kCount>
struct FourScales {
  static constexpr int kGroups = 4 / E::kSubscales;
  static constexpr int kHere = kCount - kFirst < kGroups ? kCount - kFirst : kGroups;
  template <class Opened>
  HWY_INLINE explicit FourScales(const Opened& chunk, const float* scales, const float* offsets)
      : scale(hn::Load(DF32(), scales)), offset(E::kHasOffset ? hn::Load(DF32(), offsets) : scale) {
    Unroll<0, kHere>([&](auto i) CAIRN_LAMBDA {
      codes[i.value] = E::template Codes<InOrder<kFirst + decltype(i)::value, kCount>>(chunk);
    });
  }
  VF32 scale, offset;
  StepCodes codes[kHere];
};

// p[kAt] in the first lane, 0 in the others: compilers take two instructions for it.
template <int kAt>
HWY_INLINE int32x4_t LoadFirst(const int32_t* p) {
  int32x4_t v;
  __asm__("ldr %s0, [%1, %2]" : "=w"(v) : "r"(p), "i"(kAt * 4));
  return v;
}

// dots[row][s] = what scale s starts with (where kStart) + its product. Activations are loaded once for all
// rows.
template <class E, bool kStart, int kRows, class Four>
HWY_INLINE void Dots(const Four (&rows)[kRows], const int8_t* x, [[maybe_unused]] const int32_t* starts,
                     int32x4_t (&dots)[kRows]) {
  int32x4_t parts[kRows][4];
  Unroll<0, 4>([&](auto i) CAIRN_LAMBDA {
    constexpr int kScale = decltype(i)::value, kAt = kScale / E::kSubscales;
    int32x4_t start = vdupq_n_s32(0);
    if constexpr (kAt < Four::kHere) {
      if constexpr (kStart && E::kZero != 0) start = LoadFirst<kScale>(starts);
      const VI8 low = hn::LoadU(DI8(), x + kScale * (kGroupSize / E::kSubscales));
      Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA {
        const StepCodes& codes = rows[r.value].codes[kAt];
        if constexpr (E::kSubscales == 2) {
          parts[r.value][kScale] = AddDot<E>(start, codes.half[kScale % 2], low);
        } else {
          const VI8 high = hn::LoadU(DI8(), x + kScale * kGroupSize + 16);
          parts[r.value][kScale] = AddDot<E>(start, codes, low, high);
        }
      });
    } else {
      Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA { parts[r.value][kScale] = start; });
    }
  });
  Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA {
    const auto& v = parts[r.value];
    dots[r.value] = vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
  });
}

// sums[row] += the rows' products with a token's activations from scale `at` on.
template <class E, bool kFine, int kRows, class Four>
HWY_INLINE void AddRows(const Four (&rows)[kRows], const NeonInput& x, size_t at, VF32* sums) {
  const DF32 df;
  const size_t column = at * (kGroup / E::kSubscales);
  int32x4_t dots[kRows];
  if constexpr (kFine) {
    int32x4_t coarse[kRows];
    Dots<E, false>(rows, x.values + column, nullptr, coarse);
    Dots<E, true>(rows, x.rest + column, x.starts + at, dots);
    for (int r = 0; r < kRows; ++r) dots[r] = vmlaq_n_s32(dots[r], coarse[r], kFineSteps);
  } else {
    Dots<E, true>(rows, x.values + column, x.starts + at, dots);
  }
  const VF32 scale = hn::LoadU(df, x.scales + at);
  Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA {
    const auto& row = rows[r.value];
    VF32& sum = sums[r.value];
    if constexpr (E::kHasOffset) sum = hn::MulAdd(row.offset, hn::LoadU(df, x.sums + at), sum);
    sum = hn::MulAdd(hn::ConvertTo(df, VI32{dots[r.value]}), hn::Mul(row.scale, scale), sum);
  });
}

// sums[token · kRows + row] += a chunk's product, a vector each.
template <class E, bool kFine, int kRows, int kCount>
HWY_INLINE void GemvNeonChunk(const uint8_t* p, size_t row_bytes, size_t group, const NeonInput* x,
                              size_t tokens, VF32* sums) {
  constexpr int kScales = kChunkGroups * E::kSubscales;
  alignas(16) float scales[kRows][kScales], offsets[kRows][kScales];
  Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA {
    E::template Scales<kCount>(p + r.value * row_bytes, scales[r.value], offsets[r.value]);
  });
  const auto run = [&](const auto&... chunks) CAIRN_LAMBDA {
    Unroll<0, (kCount * E::kSubscales + 3) / 4>([&](auto quarter) CAIRN_LAMBDA {
      constexpr int kScale = 4 * decltype(quarter)::value;
      using Four = FourScales<E, kScale / E::kSubscales, kCount>;
      int row = 0;
      const auto next = [&](const auto& chunk) CAIRN_LAMBDA {
        const int r = row++;
        return Four(chunk, scales[r] + kScale, offsets[r] + kScale);
      };
      const Four four[kRows] = {next(chunks)...};
      for (size_t i = 0; i < tokens; ++i)
        AddRows<E, kFine, kRows>(four, x[i], group * E::kSubscales + kScale, sums + i * kRows);
    });
  };
  if constexpr (kRows == 1) {
    run(E::template Open<kCount>(p));
  } else {
    static_assert(kRows == 2);
    run(E::template Open<kCount>(p), E::template Open<kCount>(p + row_bytes));
  }
}

// The compiler keeps loads on their side of it: it would hoist those of all groups, and store most for want
// of registers.
HWY_INLINE void HoldLoads() {
  __asm__ volatile("" ::: "memory");
}

// Four rows, of blocks of one group: what is loaded of the activations is shared by all. The same sums in the
// same order as GemvOneRows makes.
template <class E>
HWY_INLINE void GemvFourRows(const uint8_t* weights, size_t row_bytes, size_t groups, const NeonInput& x,
                             float* y) {
  static_assert(E::kGroups == 1 && E::kSubscales == 1);
  constexpr int kRows = 4, kStep = 4;
  const DF32 df;
  const uint8_t* p[kRows];
  VF32 sums[kRows];
  const int8_t* values = x.values;
  const int32_t* starts = x.starts;
  const float* x_scales = x.scales;
  for (int r = 0; r < kRows; ++r) {
    p[r] = weights + static_cast<size_t>(r) * row_bytes;
    sums[r] = hn::Zero(df);
  }
  const auto add_group = [&](auto group, int32x4_t(&to)[kRows]) CAIRN_LAMBDA {
    constexpr int kGroup = decltype(group)::value;
    const int8_t* from = values + kGroup * kGroupSize;
    const VI8 low = hn::LoadU(DI8(), from), high = hn::LoadU(DI8(), from + 16);
    int32x4_t start = vdupq_n_s32(0);
    if constexpr (E::kZero != 0) start = LoadFirst<kGroup>(starts);
    Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA {
      to[r.value] = AddDot<E>(start, E::template Codes<InOrder<kGroup, kStep>>(p[r.value]), low, high);
    });
    HoldLoads();
  };
  size_t at = 0;
  for (; at + kStep <= groups; at += kStep) {
    int32x4_t first[kRows], second[kRows], dots[kRows];
    add_group(Constant<0>(), first);
    add_group(Constant<1>(), second);
    for (int r = 0; r < kRows; ++r) dots[r] = vpaddq_s32(first[r], second[r]);
    add_group(Constant<2>(), first);
    add_group(Constant<3>(), second);
    const VF32 scale = hn::LoadU(df, x_scales);
    Unroll<0, kRows>([&](auto r) CAIRN_LAMBDA {
      const int32x4_t dot = vpaddq_s32(dots[r.value], vpaddq_s32(first[r.value], second[r.value]));
      alignas(16) float scales[8], offsets[8];
      E::template Scales<kStep>(p[r.value], scales, offsets);
      p[r.value] += kStep * E::kBytes;
      VF32& sum = sums[r.value];
      if constexpr (E::kHasOffset) sum = hn::MulAdd(hn::Load(df, offsets), hn::LoadU(df, x.sums + at), sum);
      sum = hn::MulAdd(hn::ConvertTo(df, VI32{dot}), hn::Mul(hn::Load(df, scales), scale), sum);
    });
    values += kStep * kGroupSize;
    starts += kStep;
    x_scales += kStep;
  }
  if (at < groups) {
    for (int r = 0; r < kRows; ++r) {
      ForEachChunk<E>(p[r], groups - at, [&](const uint8_t* q, size_t g, auto count) CAIRN_LAMBDA {
        GemvNeonChunk<E, false, 1, decltype(count)::value>(q, 0, at + g, &x, 1, sums + r);
      });
    }
  }
  vst1q_f32(y, vpaddq_f32(vpaddq_f32(sums[0].raw, sums[1].raw), vpaddq_f32(sums[2].raw, sums[3].raw)));
}

// Those of `rows` that are whole fours; returns how many.
template <class E>
HWY_NOINLINE size_t GemvFours(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                              NeonInput x, float* y) {
  const size_t whole = rows / 4 * 4;
  for (size_t r = 0; r < whole; r += 4) GemvFourRows<E>(weights + r * row_bytes, row_bytes, groups, x, y + r);
  return whole;
}

// kRows rows at a time, so that they share what is loaded of the activations; the last of an odd number
// alone.
template <class E, bool kFine, int kRows>
HWY_INLINE void GemvOneRows(const uint8_t* weights, size_t row_bytes, size_t groups, const NeonInput& x,
                            float* y) {
  VF32 sums[kRows];
  for (VF32& sum : sums) sum = hn::Zero(DF32());
  ForEachChunk<E>(weights, groups, [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
    GemvNeonChunk<E, kFine, kRows, decltype(count)::value>(p, row_bytes, g, &x, 1, sums);
  });
  for (int r = 0; r < kRows; ++r) y[r] = vaddvq_f32(sums[r].raw);
}

template <class E, bool kFine>
HWY_NOINLINE void GemvOne(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                          const NeonInput* x, float* y) {
  const NeonInput input = *x;
  size_t r = 0;
  if constexpr (!kFine && E::kFourRows) {
    for (; r + 4 <= rows; r += 4) GemvFourRows<E>(weights + r * row_bytes, row_bytes, groups, input, y + r);
  }
  if constexpr (!kFine && E::kSubscales == 1) {  // with more scales, registers are too few
    for (; r + 2 <= rows; r += 2)
      GemvOneRows<E, kFine, 2>(weights + r * row_bytes, row_bytes, groups, input, y + r);
  }
  for (; r < rows; ++r) GemvOneRows<E, kFine, 1>(weights + r * row_bytes, row_bytes, groups, input, y + r);
}

template <class E, bool kFine>
HWY_NOINLINE void GemvSome(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                           const NeonInput* x, size_t tokens, float* y, size_t y_stride) {
  for (size_t r = 0; r < rows; ++r) {
    VF32 sums[kMostTokens];
    for (VF32& sum : sums) sum = hn::Zero(DF32());
    ForEachChunk<E>(weights + r * row_bytes, groups,
                    [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
                      GemvNeonChunk<E, kFine, 1, decltype(count)::value>(p, 0, g, x, tokens, sums);
                    });
    for (size_t i = 0; i < tokens; ++i) y[i * y_stride + r] = vaddvq_f32(sums[i].raw);
  }
}

template <class E>
void GemvNeon(const void* weights, size_t row_bytes, size_t rows, size_t k, const PreparedBatch& x, float* y,
              size_t y_stride) {
  const auto* inputs = static_cast<const NeonInput*>(x.data);
  const auto* from = static_cast<const uint8_t*>(weights);
  const size_t groups = k / kGroup;
  for (size_t first = 0; first < x.count; first += kMostTokens) {
    const size_t left = x.count - first, tokens = left < kMostTokens ? left : kMostTokens;
    float* to = y + first * y_stride;
    const NeonInput* in = inputs + first;
    if (tokens == 1) {
      (x.fine ? GemvOne<E, true> : GemvOne<E, false>)(from, row_bytes, rows, groups, in, to);
    } else {
      (x.fine ? GemvSome<E, true> : GemvSome<E, false>)(from, row_bytes, rows, groups, in, tokens, to,
                                                        y_stride);
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
