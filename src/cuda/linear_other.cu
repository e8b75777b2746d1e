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
  load(next, (warp + warps) * kSteps);
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = a.first_token / kTileTokens + blockIdx.y * kTiles;
  const uint32_t rows = a.rows - first_tile * kTileTokens;  // from there on
  const size_t tile_words = size_t{a.x.groups} * 64;
  const uint4* codes = reinterpret_cast<const uint4*>(a.x.codes) + first_tile * tile_words + lane;
  float sums[kTiles][4] = {}, rests[kTiles][4] = {};
  for (uint32_t first = warp * kSteps; first < steps; first += warps * kSteps) {
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
    load(next, first + 2 * warps * kSteps);
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

// One token of bf16, see Source.
__global__ void single_halves_kernel(const __grid_constant__ LinearArguments a) {
  constexpr int kSteps = 8;  // at once, of 16 columns
  extern __shared__ float space[];
  __shared__ float parts[16];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Place place = place_of(a);
  const uint32_t steps = (a.k + 15) / 16;
  const uint4* weights = static_cast<const uint4*>(static_cast<const void*>(place.part->weights)) +
                         size_t{place.tile} * steps * 32 + lane;
  // As halves_kernel has them: four steps of this warp, four of its next turn.
  uint4 w[kSteps];
  const auto load = [&](int half, uint32_t first) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[4 * half + i] = first + i < steps ? load_once(weights + size_t{first + i} * 32) : uint4{};
    }
  };
  load(0, warp * 4);
  load(1, (warp + warps) * 4);
  wait_for_previous();
  let_next_start();
  // Of 64 columns a lane has four in the first half of the warp, the next turn's in the second.
  Four x, then;
  const auto column = [&](uint32_t first) { return (first + lane / 16 * warps * 4) * 16 + lane % 16 * 4; };
  read(a.source, column(warp * 4), a.k, x);
  const float factor = factor_of(a.source, a.k, parts);
  float sums[1][4] = {}, rests[4] = {};
  for (uint32_t first = warp * 4; first < steps; first += 2 * warps * 4) {
    read(a.source, column(first + 2 * warps * 4), a.k, then);
    finish(a.source, factor, x);
    uint32_t upper[2], lower[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const __nv_bfloat16 p = static_cast<__nv_bfloat16>(x.x[2 * i]), q = static_cast<__nv_bfloat16>(x.x[2 * i + 1]);
      const __nv_bfloat16 r = static_cast<__nv_bfloat16>(x.x[2 * i] - static_cast<float>(p));
      const __nv_bfloat16 s = static_cast<__nv_bfloat16>(x.x[2 * i + 1] - static_cast<float>(q));
      upper[i] = __bfloat16_as_ushort(p) | static_cast<uint32_t>(__bfloat16_as_ushort(q)) << 16;
      lower[i] = __bfloat16_as_ushort(r) | static_cast<uint32_t>(__bfloat16_as_ushort(s)) << 16;
    }
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const uint32_t words[4] = {w[i].x, w[i].y, w[i].z, w[i].w};
      // Columns 2t, + 1 of a step's first half lie in lane t / 2, word t % 2; the second half is two lanes on.
      const auto take = [&](const uint32_t (&from)[2], int half) {
        const int lane_of = i / 4 * 16 + i % 4 * 4 + half * 2 + static_cast<int>(lane % 4 / 2);
        const uint32_t first_word = __shfl_sync(0xFFFFFFFF, from[0], lane_of);
        const uint32_t second_word = __shfl_sync(0xFFFFFFFF, from[1], lane_of);
        return lane % 2 == 0 ? first_word : second_word;
      };
      mma_bf16(sums[0], words, take(upper, 0), take(upper, 1));
      mma_bf16(rests, words, take(lower, 0), take(lower, 1));
    }
    x = then;
    load(0, first + 2 * warps * 4);
    load(1, first + 3 * warps * 4);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[0][i] += rests[i];
  finish<1>(a, place, 1, 0, sums, space);
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
      float sum = sum_of_warp(sums[token]);
      if (lane != 0 || first + token >= a.rows) continue;
      if (part.bias != nullptr) sum += part.bias[row];
      part.out[size_t{first + token} * part.out_stride + row] = sum;
      if (part.sum != nullptr) part.sum[size_t{first + token} * part.sum_stride + row] += sum;
    }
  }
}

template <Encoding kOf>
void launch_any(Stream& stream, LinearArguments& a, uint32_t blocks) {
  launch_tiles(stream, a, blocks, 256, any_kernel<kOf>, nullptr, nullptr);
}

}  // namespace

bool takes_source(uint32_t encoding) {
  return has_form(encoding) || encoding == static_cast<uint32_t>(Encoding::bf16);
}

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
      if (a.source.in != nullptr) {
        return stream.launch(single_halves_kernel, blocks, threads, threads / kWarp * 128 * sizeof(float), a);
      }
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
