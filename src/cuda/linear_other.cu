// Products of few tokens with matrices of 16-bit floats, and with what has no form of its own; the choice
// among all.
#include "cuda/ring.cuh"
#include "cuda/value.cuh"

namespace cairn::cuda {
namespace {

constexpr uint32_t kSteps = 4, kTurn = kSteps * 512;  // of 16 columns, that a warp takes at a time

// Activations are two numbers of 16 bits each: their products are exact, so little is lost.
template <bool kHalf, int kTiles>
__global__ void __launch_bounds__(512) halves_kernel(const __grid_constant__ LinearArguments a) {
  extern __shared__ __align__(16) uint8_t shared[];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t steps = (a.k + 15) / 16, turns = (steps + kSteps - 1) / kSteps;
  Ring<kTurn> ring(a, shared + warp * Ring<kTurn>::kBytes, turns, size_t{steps} * 512);
  Meeting meeting{reinterpret_cast<float*>(shared + warps * Ring<kTurn>::kBytes)};
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = blockIdx.y * kTiles, rows = a.rows - first_tile * kTileTokens;
  const size_t tile_words = size_t{a.x.groups} * 64;
  const uint4* codes = reinterpret_cast<const uint4*>(a.x.codes) + first_tile * tile_words + lane;
  for (uint32_t block = blockIdx.x; block < a.blocks; block += gridDim.x) {
    float sums[kTiles][4] = {}, rests[kTiles][4] = {};
    for (uint32_t turn = warp; turn < turns; turn += warps) {
      const uint4* weights = reinterpret_cast<const uint4*>(ring.next()) + lane;
#pragma unroll
      for (uint32_t i = 0; i < kSteps; ++i) {
        const uint4 w = weights[i * 32];
        const uint32_t words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          uint4 x{};
          if (turn * kSteps + i < steps && tile * kTileTokens + lane / 4 < rows) {
            x = codes[tile * tile_words + (turn * kSteps + i) * 32];
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
    finish_tiles<kTiles>(place_of(a, block), rows, first_tile * kTileTokens, sums, meeting);
  }
  ring.close();
}

__device__ __forceinline__ uint32_t two_bf16(float a, float b, float& rest_a, float& rest_b) {
  const __nv_bfloat16 p = static_cast<__nv_bfloat16>(a), q = static_cast<__nv_bfloat16>(b);
  rest_a = a - static_cast<float>(p), rest_b = b - static_cast<float>(q);
  return __bfloat16_as_ushort(p) | static_cast<uint32_t>(__bfloat16_as_ushort(q)) << 16;
}

// One token of bf16, see Source. Its activations in shared memory: of a step [quarter][upper, lower][2]
// words.
__global__ void __launch_bounds__(512) single_halves_kernel(const __grid_constant__ LinearArguments a) {
  constexpr uint32_t kBatch = 5;
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float parts[16];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t steps = (a.k + 15) / 16, turns = (steps + kSteps - 1) / kSteps,
                 own = (turns + warps - 1) / warps;
  Ring<kTurn> ring(a, shared + warp * Ring<kTurn>::kBytes, turns, size_t{steps} * 512);
  uint32_t* input =
      reinterpret_cast<uint32_t*>(shared + warps * Ring<kTurn>::kBytes) + warp * own * kSteps * 16;
  Meeting meeting{reinterpret_cast<float*>(shared + warps * (Ring<kTurn>::kBytes + own * kSteps * 64))};
  wait_for_previous();
  let_next_start();
  // Half a warp has a turn's 64 columns, four each. All that is read is asked for at once.
  Four x[kBatch];
  const auto load = [&](uint32_t first) {
#pragma unroll
    for (uint32_t i = 0; i < kBatch; ++i) {
      const uint32_t at = first + 2 * i + lane / 16, turn = warp + at * warps;
      read(a.source, at < own ? turn * kSteps * 16 + lane % 16 * 4 : a.k, a.k, x[i]);
    }
  };
  load(0);
  const float factor = factor_of(a.source, a.k, parts);
  for (uint32_t first = 0; first < own; first += 2 * kBatch) {
    if (first > 0) load(first);
#pragma unroll
    for (uint32_t i = 0; i < kBatch; ++i) {
      finish(a.source, factor, x[i]);
      if (first + 2 * i + lane / 16 >= own) continue;
      uint32_t* to = input + ((first + 2 * i + lane / 16) * kSteps + lane % 16 / 4) * 16;
#pragma unroll
      for (uint32_t j = 0; j < 2; ++j) {
        float rest[2], none[2];
        const uint32_t pair = lane % 4 * 2 + j;  // of columns in the step
        to[pair % 4 * 4 + pair / 4] = two_bf16(x[i].x[2 * j], x[i].x[2 * j + 1], rest[0], rest[1]);
        to[pair % 4 * 4 + 2 + pair / 4] = two_bf16(rest[0], rest[1], none[0], none[1]);
      }
    }
  }
  __syncwarp();
  for (uint32_t block = blockIdx.x; block < a.blocks; block += gridDim.x) {
    float sums[4] = {}, rests[4] = {};
    uint32_t at = 0;
    for (uint32_t turn = warp; turn < turns; turn += warps, ++at) {
      const uint4* weights = reinterpret_cast<const uint4*>(ring.next()) + lane;
#pragma unroll
      for (uint32_t i = 0; i < kSteps; ++i) {
        const uint4 w = weights[i * 32];
        const uint32_t words[4] = {w.x, w.y, w.z, w.w};
        const uint4 x = reinterpret_cast<const uint4*>(input)[(at * kSteps + i) * 4 + lane % 4];
        mma_bf16(sums, words, x.x, x.y);
        mma_bf16(rests, words, x.z, x.w);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += rests[i];
    finish_single(place_of(a, block), sums, meeting);
  }
  ring.close();
}

// A warp is a row, eight tokens at a time.
template <Encoding kOf>
__global__ void any_kernel(const __grid_constant__ LinearArguments a) {
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Place place = place_of(a, blockIdx.x);
  const Part& part = *place.part;
  wait_for_previous();
  let_next_start();
  const uint32_t first = blockIdx.y * kTileTokens;
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
void launch_any(Stream& stream, const LinearArguments& a) {
  stream.launch(any_kernel<kOf>, dim3(a.blocks, (a.rows + kTileTokens - 1) / kTileTokens), 256, 0, a);
}

template <bool kHalf>
void launch_halves(Stream& stream, LinearArguments& a) {
  constexpr uint32_t kRing = Ring<kTurn>::kBytes;
  const uint32_t warps = min(max((a.k + 127) / 128, 1u), ring_warps(stream, kRing, a.k));
  if (a.source.in != nullptr) {
    const uint32_t own = ((a.k + 63) / 64 + warps - 1) / warps;
    return launch_ring(stream, single_halves_kernel, a, 1, warps * kWarp,
                       warps * (kRing + own * kSteps * 64 + 2 * kSingleFloats * sizeof(float)));
  }
  const uint32_t tiles = (a.rows + kTileTokens - 1) / kTileTokens, each = tiles == 1 ? 1 : tiles == 2 ? 2 : 4;
  launch_ring(stream,
              each == 1   ? halves_kernel<kHalf, 1>
              : each == 2 ? halves_kernel<kHalf, 2>
                          : halves_kernel<kHalf, 4>,
              a, (tiles + each - 1) / each, warps * kWarp, warps * (kRing + 2 * kTileFloats * sizeof(float)));
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
  a.grids = stream.grids;
  a.blocks = blocks;
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return launch_##name(stream, a);
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
    case Encoding::f16:
      return launch_halves<true>(stream, a);
    case Encoding::bf16:
      return launch_halves<false>(stream, a);
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return launch_any<Encoding::name>(stream, a);
      CAIRN_FOR_EACH_RAW(CAIRN_CASE)
      CAIRN_CASE(f32)
#undef CAIRN_CASE
  }
}

}  // namespace cairn::cuda
