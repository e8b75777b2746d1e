// Single numbers of rows as files have them, and of packed matrices.
#pragma once

#include "cuda/forms.cuh"

namespace cairn::cuda {

template <Encoding kOf>
__device__ __forceinline__ float value_of(const uint8_t* row, uint32_t k, const uint8_t* grids) {
  if constexpr (kOf == Encoding::f32) {
    return reinterpret_cast<const float*>(row)[k];
  } else if constexpr (kOf == Encoding::f16) {
    return __half2float(reinterpret_cast<const __half*>(row)[k]);
  } else if constexpr (kOf == Encoding::bf16) {
    return bf16_low(reinterpret_cast<const uint16_t*>(row)[k]);
  } else {
    using R = Raw<kOf>;
    const uint8_t* block = row + size_t{k / R::kElements} * R::kBytes;
    const int i = static_cast<int>(k % R::kElements);
    const float2 scale = R::scale(block, i);
    // Rounded twice, as the reference decoders do.
    return __fadd_rn(__fmul_rn(scale.x, static_cast<float>(R::code(block, i, grids))), scale.y);
  }
}

__host__ __device__ constexpr uint32_t file_bytes(Encoding encoding, uint32_t k) {
  switch (encoding) {
    case Encoding::f32:
      return 4 * k;
    case Encoding::f16:
    case Encoding::bf16:
      return 2 * k;
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return k / Raw<Encoding::name>::kElements * Raw<Encoding::name>::kBytes;
      CAIRN_FOR_EACH_BLOCKS(CAIRN_CASE)
#undef CAIRN_CASE
  }
  return 0;
}

// The eight values that a lane of a packed record has of one of its two rows in a group: columns 4t …, 16 +
// 4t …
template <class F, int kGroupAt>
__device__ __forceinline__ void values_of(const F& form, int half, float (&out)[8]) {
  uint32_t a[4];
  form.codes(kGroupAt, a);
  const float2 first = form.template scale<kGroupAt, 0>(half);
  const float2 last = form.template scale<kGroupAt, F::kSubscales - 1>(half);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const uint32_t word = half == 0 ? (i < 4 ? a[0] : a[2]) : (i < 4 ? a[1] : a[3]);
    const int byte = static_cast<int>(word >> (i % 4 * 8) & 255);
    const int code = F::kSigned ? static_cast<int8_t>(byte) : byte - F::kZero;
    const float2 scale = i < 4 ? first : last;
    out[i] = __fadd_rn(__fmul_rn(scale.x, static_cast<float>(code)), scale.y);
  }
}

}  // namespace cairn::cuda
