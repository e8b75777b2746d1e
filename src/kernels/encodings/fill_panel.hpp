// From an encoding's rows to a panel for prefill's product (kernels/panel.hpp).
#pragma once

#include "kernels/encodings/unpack.hpp"
#include "kernels/targets/panel.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr size_t kChunk = static_cast<size_t>(kChunkGroups) * kGroup;

template <class E>
constexpr PanelForm FormOf() {
  if (!kHasHalves) return E::kHasOffset && E::kSubscales == 1 ? PanelForm::codes4 : PanelForm::values8;
  if (E::kSigned || E::kMostCode > 63) return PanelForm::values8;
  if (E::kSubscales == 2) return E::kHasOffset ? PanelForm::codes6_offset : PanelForm::codes6;
  if (E::kMostCode <= 15) return PanelForm::codes4;
  return E::kHasOffset ? PanelForm::codes5_offset : PanelForm::codes5;
}

// Whether the form takes the encoding's codes as they are but for a shift.
template <class E>
constexpr bool TakesCodes() {
  return kHasHalves ? FormOf<E>() != PanelForm::values8 : E::kSubscales == 1;
}

// What is added to a code, so that the form's zero is the encoding's.
template <class E>
constexpr int CodeShift() {
  switch (FormOf<E>()) {
    case PanelForm::values8:
      return kValues8Zero - E::kZero;
    case PanelForm::codes5:
      return 16 - E::kZero;
    case PanelForm::codes6:
    case PanelForm::codes6_offset:
      return 32 - E::kZero;
    default:
      return 0;
  }
}

// What is added to an offset, in scales.
template <class E>
constexpr float OffsetShift() {
  constexpr PanelForm kForm = FormOf<E>();
  if (kForm == PanelForm::codes4) return static_cast<float>(-E::kZero);
  return kForm == PanelForm::codes5_offset ? 16 : 0;
}

template <class E, int kCount>
HWY_INLINE void FillCodesChunk(const uint8_t* p, int8_t* HWY_RESTRICT codes, float* HWY_RESTRICT scales,
                               float* HWY_RESTRICT offsets) {
  constexpr int kScales = kCount * E::kSubscales;
  alignas(64) float scale[kChunkGroups * E::kSubscales];
  alignas(64) float offset[kChunkGroups * E::kSubscales] = {};
  E::template Scales<kCount>(p, scale, offset);
#if CAIRN_ISA_NEON
  store_scales(scale, kScales, scales);
#else
  __builtin_memcpy(scales, scale, kScales * sizeof(float));
#endif
  if constexpr (E::kHasOffset || OffsetShift<E>() != 0) {
    for (int i = 0; i < kChunkGroups * E::kSubscales; ++i)
      offset[i] = (E::kHasOffset ? offset[i] : 0) + OffsetShift<E>() * scale[i];
    __builtin_memcpy(offsets, offset, kScales * sizeof(float));
  }
  const auto chunk = E::template Open<kCount>(p);
  Unroll<0, Steps(kCount)>([&](auto step) CAIRN_LAMBDA {
    constexpr int kStep = decltype(step)::value, kFirst = kStep * kStepCodes;
    [[maybe_unused]] constexpr int kRest = kCount * kGroupSize - kFirst;
    StepCodes v = E::template Codes<InOrder<kStep, kCount>>(chunk);
    if constexpr (CodeShift<E>() != 0) {
#if CAIRN_ISA_X86
      v = hn::Add(v, hn::Set(DU8(), CodeShift<E>()));
#elif CAIRN_ISA_NEON
      for (VU8& half : v.half) half = hn::Add(half, hn::Set(DU8(), static_cast<uint8_t>(CodeShift<E>())));
#else
      for (uint8_t& code : v.code) code = static_cast<uint8_t>(code + CodeShift<E>());
#endif
    }
#if CAIRN_ISA_NEON
    store_group(&v, codes + kFirst * kPanelRowsTogether);
#else
    __builtin_memcpy(codes + kFirst, &v, kRest < kStepCodes ? kRest : kStepCodes);
#endif
  });
}

template <class E>
void FillCodes(const void* rows, size_t row_bytes, size_t count, size_t k, const WeightPanel& panel) {
  for (size_t r = 0; r < count; ++r) {
    ForEachChunk<E>(static_cast<const uint8_t*>(rows) + r * row_bytes, k / kGroup,
                    [&](const uint8_t* p, size_t g, auto groups) CAIRN_LAMBDA {
                      const size_t at = r * k + g * kGroup, scale = at / kGroup * E::kSubscales;
                      int8_t* to = panel.values + (CAIRN_ISA_NEON ? panel_place(r, g * kGroup, k) : at);
                      float* scales = panel.scales + (CAIRN_ISA_NEON ? scale_place(r, g, k / kGroup) : scale);
                      FillCodesChunk<E, decltype(groups)::value>(p, to, scales, panel.offsets + scale);
                    });
  }
}

// Values of signs and magnitudes, from encodings with one scale for each 32 and no offset.
template <class E>
void FillValues8(const void* rows, size_t row_bytes, size_t count, size_t k, const WeightPanel& panel) {
  for (size_t r = 0; r < count; ++r) {
    ForEachChunk<E>(static_cast<const uint8_t*>(rows) + r * row_bytes, k / kGroup,
                    [&](const uint8_t* p, size_t g, auto groups) CAIRN_LAMBDA {
                      constexpr int kCount = decltype(groups)::value;
                      alignas(64) float scale[kChunkGroups];
                      alignas(64) float offset[kChunkGroups];
                      alignas(64) int8_t values[kChunk];
                      E::template Scales<kCount>(p, scale, offset);
                      const size_t at = r * k + g * kGroup;
                      __builtin_memcpy(panel.scales + at / kGroup, scale, kCount * sizeof(float));
                      const auto chunk = E::template Open<kCount>(p);
                      Unroll<0, Steps(kCount)>([&](auto step) CAIRN_LAMBDA {
                        constexpr int kStep = decltype(step)::value;
                        StoreValues<E, kCount, kStep>(chunk, values + kStep * kStepCodes);
                      });
                      store_values8(values, kCount * kGroup, panel, at);
                    });
  }
}

template <class E>
void FillRounded(const void* rows, size_t row_bytes, size_t count, size_t k, const WeightPanel& panel) {
  alignas(64) float floats[kChunk];
  alignas(64) int8_t values[kChunk];
  const auto store = [&](size_t n, size_t at) CAIRN_LAMBDA {
#if CAIRN_ISA_NEON
    float scales[kChunkGroups];
    round_floats(floats, n, values, scales);
    store_rounded(values, scales, n, panel, at / k, at % k, k);
#else
    round_floats(floats, n, values, panel.scales + at / kGroup);
    store_values8(values, n, panel, at);
#endif
  };
  for (size_t r = 0; r < count; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(rows) + r * row_bytes;
    if constexpr (E::kIsFloat) {
      for (size_t i = 0; i < k; i += kChunk) {
        const size_t n = k - i < kChunk ? k - i : kChunk;
        DequantizeFloats<E>(row + i * E::kBytes, n, floats);
        store(n, r * k + i);
      }
    } else {
      ForEachChunk<E>(row, k / kGroup, [&](const uint8_t* p, size_t g, auto groups) CAIRN_LAMBDA {
        constexpr int kCount = decltype(groups)::value;
        DequantizeChunk<E, kCount>(p, floats);
        store(kCount * kGroup, r * k + g * kGroup);
      });
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
