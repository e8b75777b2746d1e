// Parts of filling a panel of weights for prefill's product; see kernels/panel.hpp for the forms.
#pragma once

#include "kernels/dot.hpp"
#include "kernels/kernels.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// x86 without VNNI sums codes of 4 to 6 bits in 16 bits, and has scales for each 16.
constexpr bool kHasHalves = CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI;
constexpr size_t kValues8Bytes = kHasHalves ? 2 : 1;

// k floats, a multiple of 32, rounded to [−127, 127] with a scale for each 32.
void round_floats(const float* x, size_t k, int8_t* values, float* scales);
// Values into a panel of form values8 from element `at` on (row · columns + column): as value + 128, or, two
// bytes each, for each four values their signs (0 or −1), then their magnitudes; the correction is then what
// sums start with.
void store_values8(const int8_t* values, size_t k, const WeightPanel& panel, size_t at);

}  // namespace cairn::kernels::CAIRN_TARGET
