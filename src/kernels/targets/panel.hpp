// Parts of filling a panel of weights for prefill's product; see kernels/panel.hpp for the forms.
#pragma once

#include "kernels/dot.hpp"
#include "kernels/kernels.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// x86 without VNNI sums codes of 4 to 6 bits in 16 bits, and has scales for each 16.
constexpr bool kHasHalves = CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI;
constexpr size_t kValues8Bytes = kHasHalves ? 2 : 1;
// What a value of form values8 has been raised by, where it takes one byte.
constexpr int kValues8Zero = kSignedProducts ? 0 : 128;
// Elements of k that a product sums at once, and rows whose steps lie side by side in a panel:
// [rows / kPanelRowsTogether][k / kStepOfK][kPanelRowsTogether][kStepOfK] bytes.
constexpr size_t kStepOfK = CAIRN_HAS_SMMLA ? 8 : 4;
constexpr size_t kPanelRowsTogether = CAIRN_HAS_SMMLA ? 2 : 1;
constexpr size_t kPanelRows = kManyRegisters && (CAIRN_HAS_SDOT || !CAIRN_ISA_NEON) ? 6 : 4;  // of a product
// Rows whose scales lie side by side: [rows / kPanelScalesTogether][k / 32][kPanelScalesTogether].
constexpr size_t kPanelScalesTogether = CAIRN_ISA_NEON ? kPanelRows : 1;

// Where a panel of rows of k has an element.
HWY_INLINE size_t panel_place(size_t row, size_t column, size_t k) {
  return row / kPanelRowsTogether * kPanelRowsTogether * k +
         column / kStepOfK * kStepOfK * kPanelRowsTogether + row % kPanelRowsTogether * kStepOfK +
         column % kStepOfK;
}
HWY_INLINE size_t scale_place(size_t row, size_t group, size_t groups) {
  return row / kPanelScalesTogether * kPanelScalesTogether * groups + group * kPanelScalesTogether +
         row % kPanelScalesTogether;
}
// Scales of a row to their place.
HWY_INLINE void store_scales(const float* HWY_RESTRICT scales, size_t count, float* HWY_RESTRICT to) {
  for (size_t i = 0; i < count; ++i) to[i * kPanelScalesTogether] = scales[i];
}
// 32 bytes of a row to their place.
HWY_INLINE void store_group(const void* bytes, int8_t* to) {
  if constexpr (kPanelRowsTogether == 1) {
    __builtin_memcpy(to, bytes, kGroup);
  } else {
    for (size_t i = 0; i < kGroup; i += kStepOfK)
      __builtin_memcpy(to + i * kPanelRowsTogether, static_cast<const int8_t*>(bytes) + i, kStepOfK);
  }
}

// k floats, a multiple of 32, rounded to [−127, 127] with a scale for each 32.
void round_floats(const float* x, size_t k, int8_t* values, float* scales);
// Values into a panel of form values8 from element `at` on (row · columns + column): as value + 128, or, two
// bytes each, for each four values their signs (0 or −1), then their magnitudes; the correction is then what
// sums start with. ARM64 has store_rounded in its place.
void store_values8(const int8_t* values, size_t k, const WeightPanel& panel, size_t at);
// `count` values of a row of k, from `column` on, and their scales.
HWY_INLINE void store_rounded(const int8_t* values, const float* scales, size_t count,
                              const WeightPanel& panel, size_t row, size_t column, size_t k) {
  int8_t* to = panel.values + panel_place(row, column, k);
  for (size_t i = 0; i < count; i += kGroup) store_group(values + i, to + i * kPanelRowsTogether);
  store_scales(scales, count / kGroup, panel.scales + scale_place(row, column / kGroup, k / kGroup));
}

}  // namespace cairn::kernels::CAIRN_TARGET
