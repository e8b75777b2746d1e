// What all kernels share.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace cairn::cuda {

constexpr uint32_t kWarp = 32;
// Rows of a weight's tile, columns of a group, tokens of a tile: those of mma.sync.m16n8k32.
constexpr uint32_t kTileRows = 16, kGroup = 32, kTileTokens = 8;

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

// Programmatic dependent launch: a kernel may start before the one in front of it has ended. What that one
// wrote, and what it reads and this one writes, may be touched behind wait_for_previous() alone.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Weights are read once.
__device__ __forceinline__ uint4 load_once(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
__device__ __forceinline__ uint2 load_once(const uint2* p) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
__device__ __forceinline__ uint32_t load_once(const uint32_t* p) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}

__device__ __forceinline__ float sum_of_warp(float v) {
  for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(0xFFFFFFFF, v, i);
  return v;
}
__device__ __forceinline__ float most_of_warp(float v) {
  for (int i = 16; i > 0; i /= 2) v = fmaxf(v, __shfl_xor_sync(0xFFFFFFFF, v, i));
  return v;
}

// Sum, or largest, of all threads of a block, for all of them. space: 33 floats.
template <class Combine>
__device__ float over_block(float v, float* space, Combine combine) {
  for (int i = 16; i > 0; i /= 2) v = combine(v, __shfl_xor_sync(0xFFFFFFFF, v, i));
  const uint32_t warps = blockDim.x / kWarp;
  __syncthreads();
  if (threadIdx.x % kWarp == 0) space[threadIdx.x / kWarp] = v;
  __syncthreads();
  float all = space[0];
  for (uint32_t i = 1; i < warps; ++i) all = combine(all, space[i]);
  return all;
}
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Most {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Σ x² of a row, for all threads of a block, whatever their number: always in the same order. load: four
// numbers from a multiple of 4 on, zeros behind the end. space: 16 floats.
template <class Load>
__device__ __forceinline__ float sum_of_squares(uint32_t width, float* space, const Load& load) {
  constexpr uint32_t kParts = 16, kAtOnce = 3;
  const uint32_t warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  for (uint32_t first = threadIdx.x / kWarp; first < kParts; first += kAtOnce * warps) {
    float sums[kAtOnce] = {};
    for (uint32_t begin = lane * 4; begin < width; begin += kParts * 128) {
      float4 v[kAtOnce];
#pragma unroll
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        const uint32_t part = first + i * warps, at = begin + part * 128;
        v[i] = part < kParts && at < width ? load(at) : float4{};
      }
#pragma unroll
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        sums[i] = fmaf(v[i].x, v[i].x, sums[i]);
        sums[i] = fmaf(v[i].y, v[i].y, sums[i]);
        sums[i] = fmaf(v[i].z, v[i].z, sums[i]);
        sums[i] = fmaf(v[i].w, v[i].w, sums[i]);
      }
    }
#pragma unroll
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      const float sum = sum_of_warp(sums[i]);
      if (lane == 0 && first + i * warps < kParts) space[first + i * warps] = sum;
    }
  }
  __syncthreads();
  float all = 0;
  for (uint32_t i = 0; i < kParts; ++i) all += space[i];
  return all;
}

// Keys and values as pages have them: what a half cannot hold would be infinity, and a softmax of it no
// number.
__device__ __forceinline__ __half stored_half(float x) {
  return x != x ? __float2half_rn(x) : __float2half_rn(fminf(fmaxf(x, -65504.0f), 65504.0f));
}

// A rotary embedding's pair, rounded alike wherever it is turned.
__device__ __forceinline__ float2 turned(float first, float second, float cosine, float sine) {
  return {__fmaf_rn(first, cosine, -__fmul_rn(second, sine)),
          __fmaf_rn(second, cosine, __fmul_rn(first, sine))};
}

// graph::Activation's numbers. All but SiLU are kept out of line: code that is not run should not be fetched.
inline __device__ __noinline__ float other_activation(int kind, float x) {
  switch (kind) {
    case 2:
      return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
    case 3:
      return 0.5f * x * (1 + erff(0.7071067812f * x));
    case 5:
      return 1 / (1 + __expf(-x));
    case 6:
      return x < 0 ? 0 : x * x;
    default:
      return x;
  }
}
__device__ __forceinline__ float activation_of(int kind, float x) {
  return kind == 1 ? x / (1 + __expf(-x)) : other_activation(kind, x);
}
__device__ __forceinline__ float gated(int kind, float x, float y) {
  if (kind == 4) {
    x = x > 7 ? 7 : x;
    y = y > 7 ? 7 : y < -7 ? -7 : y;
    return x / (1 + __expf(-1.702f * x)) * (y + 1);
  }
  return activation_of(kind, x) * y;
}

__device__ __forceinline__ float bf16_low(uint32_t both) {
  return __uint_as_float(both << 16);
}
__device__ __forceinline__ float bf16_high(uint32_t both) {
  return __uint_as_float(both & 0xFFFF0000);
}

}  // namespace cairn::cuda
