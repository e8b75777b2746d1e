// From an encoding's codes and scales to floats.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// Blocks of one group that go together: without vectors of ours a longer chunk would only be more code.
constexpr int kBlockChunk = CAIRN_ISA_X86 || CAIRN_ISA_NEON ? kChunkGroups : 1;

// Calls body(p, g, Constant<count>) for chunks of `count` groups of a row: whole ones of kWhole, then at most
// one each of 8, 4, 2 and 1 that holds whole blocks. p is the chunk's first byte in a row that starts at
// `row`, g its first group.
template <class E, int kWhole = (E::kGroups < kBlockChunk ? kBlockChunk : E::kGroups), class Body>
HWY_INLINE void ForEachChunk(const uint8_t* row, size_t groups, const Body& body) {
  size_t g = 0;
  const auto next = [&](auto count) CAIRN_LAMBDA {
    constexpr int kCount = decltype(count)::value;
    body(row, g, count);
    row += static_cast<size_t>(E::kBytes) * (kCount / E::kGroups);
    g += kCount;
  };
  while (g + kWhole <= groups) next(Constant<kWhole>());
  if constexpr (kWhole > 8) {
    if (groups & 8) next(Constant<8>());
  }
  if constexpr (kWhole > 4 && E::kGroups <= 4) {
    if (groups & 4) next(Constant<4>());
  }
  if constexpr (kWhole > 2 && E::kGroups <= 2) {
    if (groups & 2) next(Constant<2>());
  }
  if constexpr (kWhole > 1 && E::kGroups == 1) {
    if (groups & 1) next(Constant<1>());
  }
}

// Steps in `count` groups, the last one perhaps half used.
constexpr int Steps(int count) {
  return (count * kGroupSize + kStepCodes - 1) / kStepCodes;
}

// Codes of a step of an opened chunk as signed values, kStepCodes of them.
template <class E, int kCount, int kStep, class Opened>
HWY_INLINE void StoreValues(const Opened& chunk, int8_t* HWY_RESTRICT values) {
  const StepCodes codes = E::template Codes<InOrder<kStep, kCount>>(chunk);
#if CAIRN_ISA_X86
  hn::Store(hn::Sub(hn::BitCast(DI8(), codes), hn::Set(DI8(), E::kZero)), DI8(), values);
#elif CAIRN_ISA_NEON
  for (int i = 0; i < 2; ++i)
    hn::Store(hn::Sub(hn::BitCast(DI8(), codes.half[i]), hn::Set(DI8(), E::kZero)), DI8(), values + 16 * i);
#else
  for (int i = 0; i < kStepCodes; ++i) values[i] = static_cast<int8_t>(codes.code[i] - E::kZero);
#endif
}

// out = scale · values [+ offset] for the kLanes values that share a scale; rounded twice, as numpy does.
template <bool kHasOffset, int kLanes>
HWY_INLINE void StoreScaled(const int8_t* HWY_RESTRICT values, float scale, float offset,
                            float* HWY_RESTRICT out) {
#if CAIRN_ISA_X86
  const DF32 df;
  const auto bytes = hn::Load(hn::Rebind<int8_t, DF32>(), values);
  VF32 w = hn::Mul(hn::ConvertTo(df, hn::PromoteTo(DI32(), bytes)), hn::Set(df, scale));
  if constexpr (kHasOffset) w = hn::Add(w, hn::Set(df, offset));
  hn::StoreU(w, df, out);
#else
  for (int i = 0; i < kLanes; ++i) {
    const float w = scale * static_cast<float>(values[i]);
    out[i] = kHasOffset ? w + offset : w;
  }
#endif
}

template <class E, int kCount>
HWY_INLINE void DequantizeChunk(const uint8_t* p, float* HWY_RESTRICT out) {
  constexpr int kLanes = CAIRN_ISA_X86 ? kStepCodes / 4 : 16;
  alignas(64) float scale[kChunkGroups * E::kSubscales];
  alignas(64) float offset[kChunkGroups * E::kSubscales];
  E::template Scales<kCount>(p, scale, offset);
  const auto chunk = E::template Open<kCount>(p);
  Unroll<0, Steps(kCount)>([&](auto step) CAIRN_LAMBDA {
    constexpr int kStep = decltype(step)::value;
    alignas(64) int8_t values[kStepCodes];
    StoreValues<E, kCount, kStep>(chunk, values);
    constexpr int kRest = kCount * kGroupSize - kStep * kStepCodes;
    for (int part = 0; part < (kRest < kStepCodes ? kRest : kStepCodes); part += kLanes) {
      const int element = kStep * kStepCodes + part, at = element * E::kSubscales / kGroupSize;
      StoreScaled<E::kHasOffset, kLanes>(values + part, scale[at], E::kHasOffset ? offset[at] : 0,
                                         out + element);
    }
  });
}

template <class E>
void Dequantize(const void* blocks, size_t elements, float* out) {
  ForEachChunk<E>(static_cast<const uint8_t*>(blocks), elements / kGroupSize,
                  [&](const uint8_t* p, size_t g, auto count)
                      CAIRN_LAMBDA { DequantizeChunk<E, decltype(count)::value>(p, out + g * kGroupSize); });
}

template <class E>
void DequantizeFloats(const void* values, size_t elements, float* out) {
  const uint8_t* p = static_cast<const uint8_t*>(values);
  size_t i = 0;
#if CAIRN_ISA_X86
  constexpr size_t kLanes = kVectorBytes / 4;
  for (; i + kLanes <= elements; i += kLanes) hn::StoreU(E::Load(p + i * E::kBytes), DF32(), out + i);
#endif
  for (; i < elements; ++i) out[i] = E::LoadOne(p + i * E::kBytes);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
