// Products of few tokens with matrices of 16-bit floats, and with what has no form of its own; the choice among all.
#include "cuda/linear.cuh"
#include "cuda/value.cuh"

namespace cairn::cuda {
namespace {

// Activations are two numbers of 16 bits each: their products are exact, so little is lost.
template <bool kHalf, int kTiles>
__global__ void halves_kernel(const __grid_constant__ LinearArguments a) {
  constexpr int kSteps = 4;  // at once, of 16 columns
  extern __shared__ float space[];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Place place = place_of(a);
  const uint32_t steps = (a.k + 15) / 16;
  const uint4* weights = static_cast<const uint4*>(static_cast<const void*>(place.part->weights)) +
                         size_t{place.tile} * steps * 32 + lane;
  uint4 w[kSteps], next[kSteps];
  const auto load = [&](uint4 (&to)[kSteps], uint32_t first) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      to[i] = first + i < steps ? load_once(weights + size_t{first + i} * 32) : uint4{};
    }
  };
  load(w, warp * kSteps);  // before the input is there
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = a.first_token / kTileTokens + blockIdx.y * kTiles;
  const uint32_t rows = a.rows - first_tile * kTileTokens;  // from there on
  const size_t tile_words = size_t{a.x.groups} * 64;
  const uint4* codes = reinterpret_cast<const uint4*>(a.x.codes) + first_tile * tile_words + lane;
  float sums[kTiles][4] = {}, rests[kTiles][4] = {};
  for (uint32_t first = warp * kSteps; first < steps; first += warps * kSteps) {
    load(next, first + warps * kSteps);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const uint32_t words[4] = {w[i].x, w[i].y, w[i].z, w[i].w};
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        uint4 x{};
        if (first + i < steps && tile * kTileTokens + lane / 4 < rows) {
          x = codes[tile * tile_words + (first + i) * 32];
        }
        if constexpr (kHalf) {
          mma_half(sums[tile], words, x.x, x.y);
          mma_half(rests[tile], words, x.z, x.w);
        } else {
          mma_bf16(sums[tile], words, x.x, x.y);
          mma_bf16(rests[tile], words, x.z, x.w);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kSteps; ++i) w[i] = next[i];
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[tile][i] += rests[tile][i];
      const uint32_t token = static_cast<uint32_t>(tile) * kTileTokens + lane % 4 * 2 + i % 2;
      if (kHalf && token < rows) sums[tile][i] *= a.x.scales[first_tile * kTileTokens + token];
    }
  }
  finish<kTiles>(a, place, rows, first_tile * kTileTokens, sums, space);
}

// A warp is a row, eight tokens at a time.
template <Encoding kOf>
__global__ void any_kernel(const __grid_constant__ LinearArguments a) {
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Place place = place_of(a);
  const Part& part = *place.part;
  wait_for_previous();
  let_next_start();
  const uint32_t first = a.first_token + blockIdx.y * kTileTokens;
  const float* x = a.in + size_t{first} * a.in_stride;
  for (uint32_t r = warp; r < kTileRows; r += blockDim.x / kWarp) {
    const uint32_t matrix_row = place.tile * kTileRows + r, row = matrix_row - part.first_row;
    if (row >= part.n) continue;
    const uint8_t* weights = part.weights + size_t{matrix_row} * file_bytes(kOf, a.k);
    float sums[kTileTokens] = {};
    for (uint32_t k = lane; k < a.k; k += kWarp) {
      const float w = value_of<kOf>(weights, k, a.grids);
#pragma unroll
      for (uint32_t token = 0; token < kTileTokens; ++token) {
        if (first + token < a.rows) sums[token] += w * x[size_t{token} * a.in_stride + k];
      }
    }
#pragma unroll
    for (uint32_t token = 0; token < kTileTokens; ++token) {
      const float sum = sum_of_warp(sums[token]);
      if (lane == 0 && first + token < a.rows) {
        part.out[size_t{first + token} * part.out_stride + row] = part.bias == nullptr ? sum : sum + part.bias[row];
      }
    }
  }
}

template <Encoding kOf>
void launch_any(Stream& stream, LinearArguments& a, uint32_t blocks) {
  launch_tiles(stream, a, blocks, 256, any_kernel<kOf>, nullptr, nullptr);
}

}  // namespace

Kind kind_of(uint32_t encoding) {
  if (has_form(encoding)) return Kind::bytes;
  if (encoding == static_cast<uint32_t>(Encoding::f16)) return Kind::half;
  return encoding == static_cast<uint32_t>(Encoding::bf16) ? Kind::bf16 : Kind::none;
}

void launch_linear(Stream& stream, uint32_t encoding, LinearArguments a, uint32_t parts) {
  uint32_t blocks = 0;
  for (uint32_t i = 0; i < kMostParts; ++i) {
    a.first_block[i] = i < parts ? blocks : UINT32_MAX;
    if (i >= parts || a.parts[i].n == 0) continue;
    blocks += (a.parts[i].first_row + a.parts[i].n + 15) / 16 - a.parts[i].first_row / 16;
  }
  const uint32_t threads = kWarp * min(max((a.k + 127) / 128, 1u), 16u);
  a.grids = stream.grids;
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return launch_##name(stream, a, blocks);
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
    case Encoding::f16:
      return launch_tiles(stream, a, blocks, threads, halves_kernel<true, 1>, halves_kernel<true, 2>,
                          halves_kernel<true, 4>);
    case Encoding::bf16:
      return launch_tiles(stream, a, blocks, threads, halves_kernel<false, 1>, halves_kernel<false, 2>,
                          halves_kernel<false, 4>);
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return launch_any<Encoding::name>(stream, a, blocks);
    CAIRN_FOR_EACH_RAW(CAIRN_CASE)
    CAIRN_CASE(f32)
#undef CAIRN_CASE
  }
}

}  // namespace cairn::cuda
