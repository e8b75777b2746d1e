// Products of fragments on tensor cores. A lane of a warp is 4 · row + quarter: of A (16 × K) a lane has rows
// `row` and row + 8, of B (K × 8) column `row`; of the sums (16 × 8) both rows' columns 2 · quarter, + 1.
#pragma once

#include "cuda/common.cuh"

namespace cairn::cuda {

// K = 32, bytes; A is signed or not. a: row's columns 4 · quarter …, those of row + 8, then both rows' 16
// further right; b: rows 4 · quarter …, 16 further down.
template <bool kSigned>
__device__ __forceinline__ void mma_bytes(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (kSigned) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#else
  const auto part = [](int32_t& c0, int32_t& c1, uint32_t a0, uint32_t b) {
    if constexpr (kSigned) {
      asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
          : "+r"(c0), "+r"(c1)
          : "r"(a0), "r"(b));
    } else {
      asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
          : "+r"(c0), "+r"(c1)
          : "r"(a0), "r"(b));
    }
  };
  part(c[0], c[1], a[0], b0);
  part(c[2], c[3], a[1], b0);
  part(c[0], c[1], a[2], b1);
  part(c[2], c[3], a[3], b1);
#endif
}

// K = 16 of the same: columns 4 · quarter … of both rows.
template <bool kSigned>
__device__ __forceinline__ void mma_bytes_half(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
#if __CUDA_ARCH__ >= 800
  if constexpr (kSigned) {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
  }
#else
  const uint32_t a[4] = {a0, a1, 0, 0};
  mma_bytes<kSigned>(c, a, b, 0);
#endif
}

// K = 16, f16. a: row's columns 2 · quarter, + 1, those of row + 8, then both rows' 8 further right.
__device__ __forceinline__ void mma_half(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  const auto part = [&](uint32_t a0, uint32_t a1, uint32_t b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
  };
  part(a[0], a[1], b0);
  part(a[2], a[3], b1);
#endif
}

// The same, bf16. GPUs before 8.0 have no such product: lanes exchange what they need.
__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  const uint32_t lane = threadIdx.x % kWarp, row = lane / 4, column = lane % 4 * 2;
  for (uint32_t q = 0; q < 4; ++q) {
    for (uint32_t half = 0; half < 2; ++half) {
      const uint32_t top = __shfl_sync(0xFFFFFFFF, a[2 * half], row * 4 + q);
      const uint32_t bottom = __shfl_sync(0xFFFFFFFF, a[2 * half + 1], row * 4 + q);
      const uint32_t b = half == 0 ? b0 : b1;
      for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t x = __shfl_sync(0xFFFFFFFF, b, (column + i) * 4 + q);
        c[i] += bf16_low(top) * bf16_low(x) + bf16_high(top) * bf16_high(x);
        c[2 + i] += bf16_low(bottom) * bf16_low(x) + bf16_high(bottom) * bf16_high(x);
      }
    }
  }
#endif
}

}  // namespace cairn::cuda
