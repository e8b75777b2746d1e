// What products of few tokens share.
#pragma once

#include "cuda/forms.cuh"
#include "cuda/launch.hpp"
#include "cuda/source.cuh"

namespace cairn::cuda {

struct Place {
  const Part* part;
  uint32_t tile;  // of 16 rows of the matrix
};
__device__ __forceinline__ Place place_of(const LinearArguments& a) {
  uint32_t i = 0;
  while (i + 1 < kMostParts && blockIdx.x >= a.first_block[i + 1]) ++i;
  const Part& part = a.parts[i];
  return {&part, part.first_row / kTileRows + blockIdx.x - a.first_block[i]};
}

// Adds the warps' sums in their order and writes them. rows: tokens from first_token on; space: 128 floats a warp.
template <int kTiles>
__device__ __forceinline__ void finish(const LinearArguments& a, const Place& place, uint32_t rows,
                                       uint32_t first_token, const float (&sums)[kTiles][4], float* space) {
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Part& part = *place.part;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    if (tile > 0) __syncthreads();
    float* mine = space + warp * 128;  // [token][row]
#pragma unroll
    for (int i = 0; i < 4; ++i) mine[(lane % 4 * 2 + i % 2) * 16 + lane / 4 + i / 2 * 8] = sums[tile][i];
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < 128; i += blockDim.x) {
      const uint32_t token = static_cast<uint32_t>(tile) * kTileTokens + i / 16;
      const uint32_t row = place.tile * kTileRows + i % 16 - part.first_row;
      if (token >= rows || row >= part.n) continue;
      float sum = space[i];
      for (uint32_t w = 1; w < warps; ++w) sum += space[w * 128 + i];
      if (part.bias != nullptr) sum += part.bias[row];
      part.out[size_t{first_token + token} * part.out_stride + row] = sum;
      if (part.sum != nullptr) part.sum[size_t{first_token + token} * part.sum_stride + row] += sum;
    }
  }
}

// Few tokens take the kernel with the fewest tiles that hold them.
inline void launch_tiles(Stream& stream, LinearArguments& a, uint32_t blocks, uint32_t threads,
                         void (*one)(LinearArguments), void (*two)(LinearArguments),
                         void (*four)(LinearArguments)) {
  const size_t bytes = threads / kWarp * 128 * sizeof(float);
  const uint32_t tiles = (a.rows + kTileTokens - 1) / kTileTokens;
  const uint32_t each = tiles == 1 || two == nullptr ? 1 : tiles == 2 ? 2 : 4;
  const uint32_t most = 65535 * each;  // what a grid's y holds
  for (uint32_t first = 0; first < tiles; first += most) {
    a.first_token = first * kTileTokens;
    const uint32_t some = tiles - first < most ? tiles - first : most;
    stream.launch(each == 1 ? one : each == 2 ? two : four, dim3(blocks, (some + each - 1) / each), threads, bytes, a);
  }
}

#define CAIRN_DECLARE(name) void launch_##name(Stream& stream, LinearArguments& a, uint32_t blocks);
CAIRN_FOR_EACH_FORM(CAIRN_DECLARE)
#undef CAIRN_DECLARE

}  // namespace cairn::cuda
