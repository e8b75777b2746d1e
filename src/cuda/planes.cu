// Products of a stack's bit planes with few tokens. A block takes a tile of 16 stored rows; its warps share
// the columns out, 256 at a time, whose planes go through shared memory. Codes become int8 values by looking
// bytes up in registers (PRMT); all sums are integers, so their order does not matter.
#include "cuda/copies.cuh"
#include "cuda/resident.cuh"
#include "cuda/value.cuh"

namespace cairn::cuda {
namespace {

constexpr uint32_t kChunkGroups = 8, kPlaneBytes = 64, kChunkBytes = kChunkGroups * kPlaneBytes;
constexpr uint32_t kSlots = 2, kSlotBytes = 7 * kChunkBytes, kWarpBytes = kSlots * kSlotBytes;

// Bytes of a register's eight codes: a plane's word has column 4 · i + c in bit i of byte c, so that bits t
// and t + 4 of each byte are what lane t multiplies. They lie in nibbles as PRMT wants them; low are columns
// 4t, 16 + 4t, 4t + 1, 17 + 4t, high the other four.
template <int kLevel>
struct Values {
  static constexpr int kIndexBits = kLevel == 7 ? 6 : kLevel,
                       kWords = kIndexBits <= 2 ? 1 : 1 << (kIndexBits - 2);
  uint32_t table[kWords];

  __device__ __forceinline__ static uint32_t turned(uint32_t word, uint32_t by) {
    return __funnelshift_r(word, word, by);
  }

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

// Where a block of the launch lies.
struct Spot {
  uint32_t part, stored;  // the tile's first stored row
  CudaPlanes planes;
  const CudaPlaneGroup* group;
  int level;  // 0: there is nothing
};
__device__ __forceinline__ Spot spot_of(const PlanesArguments& a, uint32_t block) {
  Spot s{};
  while (s.part + 1 < kMostParts && block >= a.first_block[s.part + 1]) ++s.part;
  s.planes = *a.planes[s.part];
  s.stored = (block - a.first_block[s.part]) * kTileRows;
  if (s.stored >= s.planes.rows) return s;
  s.group = s.planes.groups + s.stored / s.planes.rows_per_group;
  s.level = a.draft != 0 ? s.group->draft : s.group->level;
  return s;
}

// A warp's chunks of all tiles that its block multiplies, some ahead of what is multiplied.
class PlaneRing {
 public:
  __device__ __forceinline__ PlaneRing(const PlanesArguments& a, uint8_t* space)
      : a_(a),
        space_(space),
        groups_(a.k / kGroup),
        chunks_((groups_ + kChunkGroups - 1) / kChunkGroups),
        block_(blockIdx.x) {
    find();
    for (uint32_t i = 0; i + 1 < kSlots; ++i) fetch();
  }
  __device__ __forceinline__ uint32_t chunks() const { return chunks_; }
  __device__ __forceinline__ const uint8_t* next() {
    wait_for_copies<static_cast<int>(kSlots) - 2>();
    __syncwarp();
    const uint8_t* at = space_ + slot_ * kSlotBytes;
    slot_ = (slot_ + 1) % kSlots;
    fetch();
    return at;
  }

 private:
  __device__ __forceinline__ void find() {
    chunk_ = threadIdx.x / kWarp;
    for (level_ = 0; block_ < a_.blocks; block_ += gridDim.x) {
      const Spot s = spot_of(a_, block_);
      if (s.level == 0 || s.level == kCudaExact || chunk_ >= chunks_) continue;
      group_ = s.group, level_ = s.level;
      tile_ = size_t{(s.stored - s.group->first_row) / kTileRows} * groups_ * kPlaneBytes;
      return;
    }
  }
  __device__ __forceinline__ void fetch() {
    if (block_ < a_.blocks) {
      const uint32_t lane = threadIdx.x % kWarp;
      const bool used = chunk_ * kChunkGroups + lane / 4 < groups_;
      for (int i = 0; i < level_; ++i) {
        const uint8_t* plane = static_cast<const uint8_t*>(group_->planes[i]);
        copy_16(space_ + free_ * kSlotBytes + i * kChunkBytes + lane * 16,
                used ? plane + tile_ + size_t{chunk_} * kChunkBytes + lane * 16 : plane, used);
      }
      chunk_ += blockDim.x / kWarp;
      if (chunk_ >= chunks_) {
        block_ += gridDim.x;
        find();
      }
      free_ = (free_ + 1) % kSlots;
    }
    commit_copies();
  }

  const PlanesArguments& a_;
  uint8_t* space_;
  uint32_t groups_, chunks_, block_, chunk_ = 0, slot_ = 0, free_ = 0;
  const CudaPlaneGroup* group_ = nullptr;
  int level_ = 0;
  size_t tile_ = 0;
};

template <int kLevel, int kTiles>
__device__ __forceinline__ void add_planes(const PlanesArguments& a, PlaneRing& ring, const uint32_t* table,
                                           const uint4* codes, uint32_t rows, int32_t (&sums)[kTiles][4]) {
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  Values<kLevel> values;
#pragma unroll
  for (int i = 0; i < Values<kLevel>::kWords; ++i) values.table[i] = table[kLevel * 16 + i];
  for (uint32_t chunk = warp; chunk < ring.chunks(); chunk += warps) {
    const uint32_t* words = reinterpret_cast<const uint32_t*>(ring.next()) + lane / 4;
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
        mma_bytes<true>(sums[i], codes_a, g % 2 == 0 ? v.x : v.z, g % 2 == 0 ? v.y : v.w);
      }
    }
  }
}

__device__ __noinline__ float exact_value(uint32_t encoding, const uint8_t* rows, uint32_t row,
                                          uint32_t width, uint32_t k, const uint8_t* grids) {
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
                           const CudaPlaneGroup& group, uint32_t stored, uint32_t first_token,
                           uint32_t tokens) {
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  for (uint32_t r = stored + warp; r < stored + kTileRows && r < planes.rows; r += warps) {
    const uint32_t to = planes.destination[r];
    if (to == UINT32_MAX) continue;
    for (uint32_t token = first_token; token < min(first_token + tokens, a.rows); token += kTileTokens) {
      float sums[kTileTokens] = {};
      for (uint32_t k = lane; k < a.k; k += kWarp) {
        const float w = exact_value(planes.exact, static_cast<const uint8_t*>(group.exact),
                                    r - group.first_row, a.k, k, a.grids);
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

// Tables of all levels, 16 words each; of seven bits the upper half.
__device__ void load_tables(const int8_t* from, uint32_t* table) {
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < 7 * 64; i += blockDim.x) {
    const uint32_t level = i / 64 + 1, entry = i % 64, entries = level == 7 ? 64 : 1u << level;
    reinterpret_cast<int8_t*>(table)[level * 64 + entry] =
        entry < entries ? from[(1u << level) - 2 + (level == 7 ? 64 : 0) + entry] : int8_t{0};
  }
  __syncthreads();
}

template <int kTiles>
__global__ void __launch_bounds__(256) planes_kernel(const __grid_constant__ PlanesArguments a) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ uint32_t table[8 * 16];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  PlaneRing ring(a, shared + warp * kWarpBytes);  // before the input is there
  int32_t* meeting = reinterpret_cast<int32_t*>(shared + warps * kWarpBytes);
  const int8_t* tables = a.planes[0]->tables;
  load_tables(tables, table);
  wait_for_previous();
  let_next_start();
  const uint32_t first_token = blockIdx.y * kTiles * kTileTokens, rows = a.rows - first_token;
  const uint4* codes =
      reinterpret_cast<const uint4*>(a.x.codes) + size_t{blockIdx.y * kTiles} * a.x.groups * 16 + lane * 2;
  uint32_t turn = 0;
  for (uint32_t block = blockIdx.x; block < a.blocks; block += gridDim.x) {
    const Spot spot = spot_of(a, block);
    if (spot.level == 0) continue;
    if (spot.level == kCudaExact) {
      exact_tile(a, spot.part, spot.planes, *spot.group, spot.stored, first_token, kTiles * kTileTokens);
      continue;
    }
    if (spot.planes.tables != tables) {
      tables = spot.planes.tables;
      load_tables(tables, table);
    }
    int32_t sums[kTiles][4] = {};
    switch (spot.level) {
#define CAIRN_CASE(n)                                         \
  case n:                                                     \
    add_planes<n, kTiles>(a, ring, table, codes, rows, sums); \
    break;
      CAIRN_CASE(1) CAIRN_CASE(2) CAIRN_CASE(3) CAIRN_CASE(4) CAIRN_CASE(5) CAIRN_CASE(6) CAIRN_CASE(7)
#undef CAIRN_CASE
    }
    const uint16_t* scales = a.draft != 0 ? spot.group->draft_scales : spot.group->scales;
    const uint32_t part = spot.part;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      int32_t* all = meeting + turn * warps * 128;
      turn ^= 1;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        all[warp * 128 + (lane % 4 * 2 + j % 2) * 16 + lane / 4 + j / 2 * 8] = sums[i][j];
      }
      __syncthreads();
      for (uint32_t j = threadIdx.x; j < 128; j += blockDim.x) {
        const uint32_t token = first_token + static_cast<uint32_t>(i) * kTileTokens + j / 16,
                       row = spot.stored + j % 16;
        if (token >= a.rows || row >= spot.planes.rows) continue;
        const uint32_t to = spot.planes.destination[row];
        if (to == UINT32_MAX) continue;
        int32_t sum = all[j];
        for (uint32_t w = 1; w < warps; ++w) sum += all[w * 128 + j];
        float y =
            half_bits(scales[row - spot.group->first_row]) * static_cast<float>(sum) * a.x.scales[token];
        if (a.bias[part] != nullptr) y += a.bias[part][to];
        a.out[part][size_t{token} * a.out_stride[part] + to] = y;
      }
    }
  }
  wait_for_copies<0>();
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
  a.blocks = blocks;
  const uint32_t each_warp = kWarpBytes + 2 * 128 * sizeof(int32_t),
                 room = (stream.shared - 1024) / each_warp;
  const uint32_t warps = min(max((a.k + 255) / 256, 1u), min(room, 8u));
  const uint32_t tiles = (a.rows + kTileTokens - 1) / kTileTokens, each = tiles == 1 ? 1 : tiles == 2 ? 2 : 4;
  const uint32_t groups = (tiles + each - 1) / each;
  const auto kernel = each == 1 ? planes_kernel<1> : each == 2 ? planes_kernel<2> : planes_kernel<4>;
  launch_resident(stream, kernel, a, blocks, groups, warps * kWarp, warps * each_warp);
}

}  // namespace cairn::cuda
