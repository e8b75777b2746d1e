// Filling a panel of weights for prefill's product; see kernels/gemm.hpp for the forms.
#pragma once

#include "kernels/dot.hpp"
#include "kernels/kernels.hpp"

namespace cairn::kernels::CAIRN_TARGET {

#if CAIRN_HAS_VNNI || !CAIRN_HAS_MADDUBS
constexpr bool kCodes4 = false;
constexpr int kMostValue = 127;
#else
// Two u8·s7 products fit in the 16 bits that the pairwise multiply-add saturates to.
constexpr bool kCodes4 = true;
constexpr int kMostValue = 63;
#endif

// GemmKernels::fill_...
void fill_values8(size_t k, const int8_t* values, int32_t* corrections);
void fill_floats(const float* row, size_t k, int8_t* values, int32_t* corrections, float* scales);
void fill_codes4(size_t k, uint8_t* codes, float* scales, int32_t* corrections, float* offsets);

}  // namespace cairn::kernels::CAIRN_TARGET
