// Hopper's matrix products: A of registers, B of shared memory, by four warps together.
#pragma once

#include "cuda/common.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CAIRN_WGMMA 1

namespace cairn::cuda {

// A block of shared memory [tokens][64] of 16 bits, rows of 128 bytes whose 16-byte pieces lie where their
// number, exclusive-or the row's modulo 8, says; at a multiple of 1,024 bytes.
__device__ __forceinline__ uint64_t swizzled(const void* at) {
  const uint64_t address = __cvta_generic_to_shared(at);
  return (address & 0x3FFFF) >> 4 | uint64_t{1} << 16 | uint64_t{64} << 32 | uint64_t{1} << 62;
}
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kLeft>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}
__device__ __forceinline__ void shared_is_written() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// c[16 × 128 of this warp's rows] += a · b; a as A of mma_half.
#define CAIRN_WGMMA_OF(name, type)                                                                          \
  __device__ __forceinline__ void name(float(&c)[64], const uint32_t* a, uint64_t b) {                      \
    asm volatile(                                                                                           \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                                        \
        " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, " \
        "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, "   \
        "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, "   \
        "%59, %60, %61, %62, %63}, "                                                                        \
        "{%64, %65, %66, %67}, %68, 1, 1, 1, 0;"                                                            \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),   \
          "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]),          \
          "+f"(c[15]), "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]),        \
          "+f"(c[22]), "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]),        \
          "+f"(c[29]), "+f"(c[30]), "+f"(c[31]), "+f"(c[32]), "+f"(c[33]), "+f"(c[34]), "+f"(c[35]),        \
          "+f"(c[36]), "+f"(c[37]), "+f"(c[38]), "+f"(c[39]), "+f"(c[40]), "+f"(c[41]), "+f"(c[42]),        \
          "+f"(c[43]), "+f"(c[44]), "+f"(c[45]), "+f"(c[46]), "+f"(c[47]), "+f"(c[48]), "+f"(c[49]),        \
          "+f"(c[50]), "+f"(c[51]), "+f"(c[52]), "+f"(c[53]), "+f"(c[54]), "+f"(c[55]), "+f"(c[56]),        \
          "+f"(c[57]), "+f"(c[58]), "+f"(c[59]), "+f"(c[60]), "+f"(c[61]), "+f"(c[62]), "+f"(c[63])         \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                              \
  }
CAIRN_WGMMA_OF(wgmma_half, "f16")
CAIRN_WGMMA_OF(wgmma_bf16, "bf16")
#undef CAIRN_WGMMA_OF

}  // namespace cairn::cuda
#endif
