// Products of a stack's bit planes with few tokens. A block takes a tile of 16 stored rows; its warps share the
// columns out, 256 at a time, whose planes go through shared memory. Codes become int8 values by looking bytes up
// in registers (PRMT); all sums are integers, so their order does not matter.
#include "cuda/copies.cuh"
#include "cuda/launch.hpp"
#include "cuda/value.cuh"

namespace cairn::cuda {
namespace {

constexpr uint32_t kChunkGroups = 8, kPlaneBytes = 64, kChunkBytes = kChunkGroups * kPlaneBytes;
constexpr uint32_t kWarpBytes = 14 * kChunkBytes;  // of shared memory: two stages of seven planes, more of fewer

// Bytes of a register's eight codes: a plane's word has column 4 · i + c in bit i of byte c, so that bits t and
// t + 4 of each byte are what lane t multiplies. They lie in nibbles as PRMT wants them; low are columns
// 4t, 16 + 4t, 4t + 1, 17 + 4t, high the other four.
template <int kLevel>
struct Values {
  static constexpr int kIndexBits = kLevel == 7 ? 6 : kLevel, kWords = kIndexBits <= 2 ? 1 : 1 << (kIndexBits - 2);
  uint32_t table[kWords];

  __device__ __forceinline__ static uint32_t turned(uint32_t word, uint32_t by) { return __funnelshift_r(word, word, by); }

  // w: a row's word of each plane; t: the lane's quarter.
  __device__ __forceinline__ void of(const uint32_t (&planes)[kLevel], uint32_t t, uint32_t& low,
                                     uint32_t& high) const {
    uint32_t w[kIndexBits], sign = 0;
#pragma unroll
    for (int i = 0; i < kIndexBits; ++i) {
      w[i] = planes[i + kLevel - kIndexBits];
      if constexpr (kLevel == 7) w[i] ^= ~planes[0];  // the lower half mirrors the upper
    }
    const uint32_t by1 = (t - 1) & 31, by2 = (t - 2) & 31;
    uint32_t index = turned(w[kIndexBits - 1], t) & 0x11111111;
    if constexpr (kIndexBits >= 2) index |= turned(w[kIndexBits - 2], by1) & 0x22222222;
    if constexpr (kIndexBits >= 3) index |= turned(w[kIndexBits - 3], by2) & 0x44444444;
    uint32_t choose[kIndexBits > 3 ? kIndexBits - 3 : 1];
#pragma unroll
    for (int i = 0; i < kIndexBits - 3; ++i) choose[i] = (turned(w[i], by2) & 0x44444444) | 0x32103210;
    if constexpr (kLevel == 7) sign = (turned(planes[0], t) & 0x11111111) ^ 0x11111111;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      constexpr int kTables = kIndexBits > 3 ? 1 << (kIndexBits - 3) : 1;
      uint32_t v[kTables];
#pragma unroll
      for (int i = 0; i < kTables; ++i) {
        v[i] = __byte_perm(table[kWords == 1 ? 0 : 2 * i], kWords == 1 ? 0 : table[(2 * i + 1) % kWords],
                           index >> (16 * half));
      }
#pragma unroll
      for (int bit = kIndexBits - 4, left = kTables / 2; bit >= 0; --bit, left /= 2) {
#pragma unroll
        for (int i = 0; i < left; ++i) v[i] = __byte_perm(v[2 * i], v[2 * i + 1], choose[bit] >> (16 * half));
      }
      if constexpr (kLevel == 7) {
        // Nibbles of signs to bytes of 0 or 255.
        const uint32_t s = sign >> (16 * half);
        const uint32_t spread = ((s & 0xF) | (s & 0xF0) << 4 | (s & 0xF00) << 8 | (s & 0xF000) << 12) * 255;
        v[0] = __vsub4(v[0] ^ spread, spread);
      }
      (half == 0 ? low : high) = v[0];
    }
  }
};

template <int kTiles>
struct Sums {
  int32_t of[kTiles][4];
};

template <int kLevel, int kTiles>
__device__ __forceinline__ void add_planes(const CudaPlaneGroup& group, uint32_t tile, const uint32_t* shared_table,
                                           const PlanesArguments& a, uint8_t* space, Sums<kTiles>& sums) {
  constexpr uint32_t kStages = 14 / kLevel < 4 ? 14 / kLevel : 4, kStageBytes = kLevel * kChunkBytes;
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t groups = a.k / kGroup, chunks = (groups + kChunkGroups - 1) / kChunkGroups;
  space += warp * kWarpBytes;
  const uint8_t* planes[kLevel];
#pragma unroll
  for (int i = 0; i < kLevel; ++i) {
    planes[i] = static_cast<const uint8_t*>(group.planes[i]) + (size_t{tile} * groups) * kPlaneBytes + lane * 16;
  }
  const auto fetch = [&](uint32_t chunk, uint32_t stage) {
#pragma unroll
    for (int i = 0; i < kLevel; ++i) {
      const bool used = chunk < chunks && chunk * kChunkGroups + lane / 4 < groups;
      copy_16(space + stage * kStageBytes + i * kChunkBytes + lane * 16,
              used ? planes[i] + size_t{chunk} * kChunkBytes : planes[i], used);
    }
    commit_copies();
  };
  for (uint32_t i = 0; i + 1 < kStages; ++i) fetch(warp + i * warps, i);  // before the input is there
  Values<kLevel> values;
#pragma unroll
  for (int i = 0; i < Values<kLevel>::kWords; ++i) values.table[i] = shared_table[i];
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = blockIdx.y * kTiles, rows = a.rows - first_tile * kTileTokens;
  const uint4* codes = reinterpret_cast<const uint4*>(a.x.codes) + size_t{first_tile} * a.x.groups * 16 + lane * 2;
  uint32_t stage = 0;
  for (uint32_t chunk = warp; chunk < chunks; chunk += warps) {
    fetch(chunk + (kStages - 1) * warps, (stage + kStages - 1) % kStages);
    uint4 x[kTiles][4];
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        x[i][j] = uint4{};
        const uint32_t at = chunk * kChunkGroups + j / 2 * 4;
        if (i * kTileTokens + lane / 4 < rows && at < a.x.groups) {
          x[i][j] = codes[(size_t{static_cast<uint32_t>(i)} * a.x.groups + at) * 16 + j % 2];
        }
      }
    }
    wait_for_copies<kStages - 1>();
    __syncwarp();
    const uint32_t* words = reinterpret_cast<const uint32_t*>(space + stage * kStageBytes) + lane / 4;
#pragma unroll
    for (uint32_t g = 0; g < kChunkGroups; ++g) {
      uint32_t codes_a[4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t w[kLevel];
#pragma unroll
        for (int i = 0; i < kLevel; ++i) w[i] = words[i * (kChunkBytes / 4) + g * 16 + half * 8];
        values.of(w, lane % 4, codes_a[half], codes_a[half + 2]);
      }
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4 v = x[i][g / 2];
        mma_bytes<true>(sums.of[i], codes_a, g % 2 == 0 ? v.x : v.z, g % 2 == 0 ? v.y : v.w);
      }
    }
    __syncwarp();
    stage = (stage + 1) % kStages;
  }
}

__device__ __noinline__ float exact_value(uint32_t encoding, const uint8_t* rows, uint32_t row, uint32_t width,
                                          uint32_t k, const uint8_t* grids) {
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return value_of<Encoding::name>(rows + size_t{row} * file_bytes(Encoding::name, width), k, grids);
    CAIRN_FOR_EACH_BLOCKS(CAIRN_CASE)
    CAIRN_CASE(f32) CAIRN_CASE(f16) CAIRN_CASE(bf16)
#undef CAIRN_CASE
  }
  return 0;
}

// Rows as the source has them, of inputs as they are.
__device__ void exact_tile(const PlanesArguments& a, uint32_t part, const CudaPlanes& planes,
                           const CudaPlaneGroup& group, uint32_t stored, uint32_t first_token, uint32_t tokens) {
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  for (uint32_t r = stored + warp; r < stored + kTileRows && r < planes.rows; r += warps) {
    const uint32_t to = planes.destination[r];
    if (to == UINT32_MAX) continue;
    for (uint32_t token = first_token; token < min(first_token + tokens, a.rows); token += kTileTokens) {
      float sums[kTileTokens] = {};
      for (uint32_t k = lane; k < a.k; k += kWarp) {
        const float w = exact_value(planes.exact, static_cast<const uint8_t*>(group.exact), r - group.first_row, a.k,
                                    k, a.grids);
        for (uint32_t i = 0; i < kTileTokens; ++i) {
          if (token + i < a.rows) sums[i] += w * a.plain[size_t{token + i} * a.plain_stride + k];
        }
      }
      for (uint32_t i = 0; i < kTileTokens && token + i < a.rows; ++i) {
        const float sum = sum_of_warp(sums[i]);
        if (lane == 0) {
          a.out[part][size_t{token + i} * a.out_stride[part] + to] =
              a.bias[part] == nullptr ? sum : sum + a.bias[part][to];
        }
      }
    }
  }
}

template <int kTiles>
__global__ void planes_kernel(const __grid_constant__ PlanesArguments a) {
  extern __shared__ __align__(16) uint8_t space[];
  __shared__ uint32_t table[16];
  uint32_t part = 0;
  while (part + 1 < kMostParts && blockIdx.x >= a.first_block[part + 1]) ++part;
  const CudaPlanes planes = *a.planes[part];
  const uint32_t stored = (blockIdx.x - a.first_block[part]) * kTileRows;
  if (stored >= planes.rows) return;
  const CudaPlaneGroup& group = planes.groups[stored / planes.rows_per_group];
  const int level = a.draft != 0 ? group.draft : group.level;
  if (level == kCudaExact) {
    wait_for_previous();
    let_next_start();
    return exact_tile(a, part, planes, group, stored, blockIdx.y * kTiles * kTileTokens, kTiles * kTileTokens);
  }
  if (threadIdx.x < 64) {
    const uint32_t entries = level == 7 ? 64 : 1u << level;  // of seven the upper half
    const int8_t* from = planes.tables + (1u << level) - 2 + (level == 7 ? 64 : 0);
    reinterpret_cast<int8_t*>(table)[threadIdx.x] = threadIdx.x < entries ? from[threadIdx.x] : int8_t{0};
  }
  __syncthreads();
  Sums<kTiles> sums{};
  const uint32_t tile = (stored - group.first_row) / kTileRows;
  switch (level) {
#define CAIRN_CASE(n)                                              \
  case n:                                                          \
    add_planes<n, kTiles>(group, tile, table, a, space, sums); \
    break;
    CAIRN_CASE(1) CAIRN_CASE(2) CAIRN_CASE(3) CAIRN_CASE(4) CAIRN_CASE(5) CAIRN_CASE(6) CAIRN_CASE(7)
#undef CAIRN_CASE
  }
  wait_for_copies<0>();
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const uint16_t* scales = a.draft != 0 ? group.draft_scales : group.scales;
  const uint32_t first_token = blockIdx.y * kTiles * kTileTokens;
  int32_t* all = reinterpret_cast<int32_t*>(space);
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
    __syncthreads();
    int32_t* mine = all + warp * 128;
#pragma unroll
    for (int j = 0; j < 4; ++j) mine[(lane % 4 * 2 + j % 2) * 16 + lane / 4 + j / 2 * 8] = sums.of[i][j];
    __syncthreads();
    for (uint32_t j = threadIdx.x; j < 128; j += blockDim.x) {
      const uint32_t token = first_token + static_cast<uint32_t>(i) * kTileTokens + j / 16, row = stored + j % 16;
      if (token >= a.rows || row >= planes.rows) continue;
      const uint32_t to = planes.destination[row];
      if (to == UINT32_MAX) continue;
      int32_t sum = all[j];
      for (uint32_t w = 1; w < warps; ++w) sum += all[w * 128 + j];
      float y = half_bits(scales[row - group.first_row]) * static_cast<float>(sum) * a.x.scales[token];
      if (a.bias[part] != nullptr) y += a.bias[part][to];
      a.out[part][size_t{token} * a.out_stride[part] + to] = y;
    }
  }
}

}  // namespace

void launch_planes(Stream& stream, const PlanesArguments& arguments, const uint32_t (&stored_rows)[4],
                   uint32_t parts) {
  PlanesArguments a = arguments;
  a.grids = stream.grids;
  uint32_t blocks = 0;
  for (uint32_t i = 0; i < kMostParts; ++i) {
    a.first_block[i] = i < parts ? blocks : UINT32_MAX;
    if (i < parts) blocks += (stored_rows[i] + kTileRows - 1) / kTileRows;
  }
  const uint32_t most = stream.shared / kWarpBytes < 8 ? stream.shared / kWarpBytes : 8;
  const uint32_t threads = kWarp * min(max((a.k + 255) / 256, 2u), most);
  const uint32_t tiles = (a.rows + kTileTokens - 1) / kTileTokens;
  const uint32_t each = tiles == 1 ? 1 : tiles == 2 ? 2 : 4;
  stream.launch(each == 1 ? planes_kernel<1> : each == 2 ? planes_kernel<2> : planes_kernel<4>,
                dim3(blocks, (tiles + each - 1) / each), threads, threads / kWarp * kWarpBytes, a);
}

}  // namespace cairn::cuda
