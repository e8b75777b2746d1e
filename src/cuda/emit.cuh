// Activations as products read them (launch.hpp, Activations), written a group of 32 at a time by a warp.
#pragma once

#include "cuda/common.cuh"
#include "cuda/launch.hpp"

namespace cairn::cuda {

__device__ __forceinline__ bool has_one_scale(Kind kind) {  // as has_scale()
  return kind == Kind::half || kind == Kind::planes || kind == Kind::rows_half || kind == Kind::rows_packed;
}
// What a token's features are multiplied by before emit(), and what undoes it; most: the largest, or
// infinity.
__device__ __forceinline__ float token_factor(Kind kind, float most) {
  if (kind == Kind::planes) return most > 0 && most < INFINITY ? 127 / most : 0;
  if (!(most > 0) || most == INFINITY) return 1;
  int exponent;
  frexpf(most, &exponent);
  return exp2f(static_cast<float>(min(10 - exponent, 100)));
}
__device__ __forceinline__ float token_scale(Kind kind, float most) {
  if (most == INFINITY) return NAN;
  return kind == Kind::planes ? most / 127 : 1 / token_factor(kind, most);
}

__device__ __forceinline__ void emit_bytes(const Activations& to, uint32_t row, uint32_t g, float x) {
  const uint32_t lane = threadIdx.x % kWarp;
  const float most = most_of_warp(fabsf(x));
  const bool number = __all_sync(0xFFFFFFFF, x == x);
  const int q = __float2int_rn(x * (most > 0 ? 127 / most : 0));
  int sum = q;
  for (int i = 8; i > 0; i /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, i);
  const int last = __shfl_sync(0xFFFFFFFF, sum, 16);
  const uint32_t tile = row / kTileTokens, token = row % kTileTokens;
  int8_t* codes = reinterpret_cast<int8_t*>(to.codes) + size_t{tile} * to.groups * 256;
  codes[((g / 4 * 32 + token * 4 + lane % 16 / 4) * 4 + g % 4) * 8 + lane / 16 * 4 + lane % 4] =
      static_cast<int8_t>(q);
  if (lane == 0) {
    to.meta[(size_t{tile} * to.groups + g) * kTileTokens + token] = {
        __float_as_uint(number ? most / 127 : NAN),
        static_cast<uint32_t>(sum & 0xFFFF) | static_cast<uint32_t>(last) << 16};
  }
}

// The order of planes.cu: bytes 0 and 2 of the first word are columns 4t and 4t + 1, 1 and 3 those 16
// further; the second word goes on so.
__device__ __forceinline__ void emit_planes(const Activations& to, uint32_t row, uint32_t g, float x) {
  const uint32_t lane = threadIdx.x % kWarp;
  int8_t* codes = reinterpret_cast<int8_t*>(to.codes) + size_t{row / kTileTokens} * to.groups * 256;
  codes[((g / 4 * 32 + row % kTileTokens * 4 + lane % 16 / 4) * 4 + g % 4) * 8 + lane % 4 / 2 * 4 +
        lane % 2 * 2 + lane / 16] = static_cast<int8_t>(__float2int_rn(x));
}

template <class T>
__device__ __forceinline__ void emit_floats(const Activations& to, uint32_t row, uint32_t g, float x) {
  const uint32_t lane = threadIdx.x % kWarp, e = lane % 16;
  T* codes = reinterpret_cast<T*>(to.codes) + (size_t{row / kTileTokens} * to.groups + g) * 512;
  const T upper = static_cast<T>(x);
  const uint32_t at = (lane / 16 * 32 + row % kTileTokens * 4 + e % 8 / 2) * 8 + e / 8 * 2 + e % 2;
  codes[at] = upper;
  codes[at + 4] = static_cast<T>(x - static_cast<float>(upper));
}

template <class T>
__device__ __forceinline__ void emit_row(const Activations& to, uint32_t row, uint32_t g, float x,
                                         bool packed) {
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t at = packed ? lane / 16 * 16 + lane % 4 / 2 * 8 + lane % 16 / 4 * 2 + lane % 2 : lane;
  reinterpret_cast<T*>(to.codes)[(size_t{row} * to.groups + g) * kGroup + at] = static_cast<T>(x);
}

// By whole warps; x: the lane's feature of group g, 0 where there is none.
__device__ __forceinline__ void emit(Kind kind, const Activations& to, uint32_t row, uint32_t g, float x) {
  asm volatile(
      ""
      : "+f"(x));  // rounded as it is stored: no multiplication of its making is joined with what follows
  switch (kind) {
    case Kind::bytes:
      return emit_bytes(to, row, g, x);
    case Kind::planes:
      return emit_planes(to, row, g, x);
    case Kind::half:
      return emit_floats<__half>(to, row, g, x);
    case Kind::bf16:
      return emit_floats<__nv_bfloat16>(to, row, g, x);
    case Kind::rows_half:
      return emit_row<__half>(to, row, g, x, false);
    case Kind::rows_packed:
      return emit_row<__half>(to, row, g, x, true);
    case Kind::rows_bf16:
      return emit_row<__nv_bfloat16>(to, row, g, x, false);
    default:
      return;
  }
}

// Bytes of a tile's codes.
inline size_t tile_bytes(Kind kind, uint32_t groups) {
  return size_t{groups} * (kind == Kind::bytes || kind == Kind::planes ? 256 : is_rows(kind) ? 512 : 1024);
}
inline Activations shifted(Kind kind, Activations a, uint32_t tiles) {
  a.codes += tile_bytes(kind, a.groups) / 4 * tiles;
  if (a.meta != nullptr) a.meta += size_t{a.groups} * kTileTokens * tiles;
  if (a.scales != nullptr) a.scales += size_t{kTileTokens} * tiles;
  return a;
}

}  // namespace cairn::cuda
