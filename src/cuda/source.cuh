// A single token's activations, made from floats by each warp for the columns that it multiplies: the same
// numbers as emit.cuh's.
#pragma once

#include "cuda/common.cuh"
#include "cuda/launch.hpp"

namespace cairn::cuda {

// What multiplies all features: 1, or a norm's factor. space: 16 floats.
__device__ __forceinline__ float factor_of(const Source& s, uint32_t k, float* space) {
  if (!s.norm) return 1;
  const float sum =
      sum_of_squares(k, space, [&](uint32_t i) { return *reinterpret_cast<const float4*>(s.in + i); });
  return 1 / sqrtf(sum / static_cast<float>(k) + s.epsilon);
}

// Four features from column i on, a multiple of 4 as k is; before the factor.
struct Four {
  float x[4], y[4];
};
__device__ __forceinline__ void read(const Source& s, uint32_t i, uint32_t k, Four& to) {
  float4 v{}, w{};
  if (i < k) {
    v = *reinterpret_cast<const float4*>(s.in + i);
    if (s.load == Load::gate) w = *reinterpret_cast<const float4*>(s.in2 + i);
    if (s.norm && s.weight != nullptr) w = *reinterpret_cast<const float4*>(s.weight + i);
  }
  to.x[0] = v.x, to.x[1] = v.y, to.x[2] = v.z, to.x[3] = v.w;
  to.y[0] = w.x, to.y[1] = w.y, to.y[2] = w.z, to.y[3] = w.w;
}
inline __device__ __noinline__ float4 made_of(Load load, int activation, float4 x, float4 y) {
  if (load == Load::gate) {
    return {gated(activation, x.x, y.x), gated(activation, x.y, y.y), gated(activation, x.z, y.z),
            gated(activation, x.w, y.w)};
  }
  return {activation_of(activation, x.x), activation_of(activation, x.y), activation_of(activation, x.z),
          activation_of(activation, x.w)};
}
__device__ __forceinline__ void made_otherwise(const Source& s, Four& it) {
  const float4 v = made_of(s.load, s.activation, {it.x[0], it.x[1], it.x[2], it.x[3]},
                           {it.y[0], it.y[1], it.y[2], it.y[3]});
  it.x[0] = v.x, it.x[1] = v.y, it.x[2] = v.z, it.x[3] = v.w;
}
__device__ __forceinline__ void finish(const Source& s, float factor, Four& it) {
  if (s.load == Load::gate && s.activation == 1) {
#pragma unroll
    for (int i = 0; i < 4; ++i) it.x[i] = it.x[i] / (1 + __expf(-it.x[i])) * it.y[i];
  } else if (s.load == Load::gate || s.load == Load::activate) {
    made_otherwise(s, it);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (s.norm) {
      it.x[i] *= factor;
      if (s.weight != nullptr) it.x[i] *= it.y[i];
    }
    asm volatile("" : "+f"(it.x[i]));  // as emit() has it
  }
}

// As int8 with a scale for each 32 features, eight lanes: a word of codes a lane; scale and both sums (of the
// first 16 in the lower half) for all lanes of a group.
struct Bytes {
  uint32_t codes, sums;
  float scale;
};
__device__ __forceinline__ Bytes to_bytes(const float (&x)[4]) {
  float most = fmaxf(fmaxf(fabsf(x[0]), fabsf(x[1])), fmaxf(fabsf(x[2]), fabsf(x[3])));
#pragma unroll
  for (int i = 1; i < 8; i *= 2) most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFF, most, i));
  const uint32_t lane = threadIdx.x % kWarp;
  const bool number = x[0] == x[0] && x[1] == x[1] && x[2] == x[2] && x[3] == x[3];
  const bool all = (__ballot_sync(0xFFFFFFFF, number) >> (lane & 24) & 255) == 255;
  const float factor = most > 0 ? 127 / most : 0;
  Bytes to{};
  int sum = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int q = __float2int_rn(x[i] * factor);
    sum += q;
    to.codes |= static_cast<uint32_t>(q & 255) << (8 * i);
  }
  sum += __shfl_xor_sync(0xFFFFFFFF, sum, 1);
  sum += __shfl_xor_sync(0xFFFFFFFF, sum, 2);
  const int other = __shfl_xor_sync(0xFFFFFFFF, sum, 4);
  const bool last = lane & 4;
  to.sums = static_cast<uint32_t>((last ? other : sum) & 0xFFFF) | static_cast<uint32_t>(last ? sum : other)
                                                                       << 16;
  to.scale = all ? most / 127 : NAN;
  return to;
}

}  // namespace cairn::cuda
