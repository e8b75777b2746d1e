// A warp's share of the weights of all tiles that its block multiplies, on its way through shared memory:
// some records ahead of what is multiplied, across tiles, so that memory is never idle.
#pragma once

#include "cuda/copies.cuh"
#include "cuda/linear.cuh"
#include "cuda/resident.cuh"

namespace cairn::cuda {

template <uint32_t kRecord>
class Ring {
 public:
  static constexpr uint32_t kSlots = kRecord <= 1280 ? 5 : kRecord <= 2400 ? 4 : 3, kBytes = kSlots * kRecord;

  // records, tile_bytes: of a tile; the last record may be cut short.
  __device__ __forceinline__ Ring(const LinearArguments& a, uint8_t* space, uint32_t records,
                                  size_t tile_bytes)
      : a_(a),
        space_(space),
        records_(records),
        tile_bytes_(tile_bytes),
        block_(blockIdx.x),
        record_(threadIdx.x / kWarp) {
    find();
    for (uint32_t i = 0; i + 1 < kSlots; ++i) fetch();
  }
  // The next record, in shared memory, until the next call.
  __device__ __forceinline__ const uint8_t* next() {
    wait_for_copies<static_cast<int>(kSlots) - 2>();
    __syncwarp();
    const uint8_t* at = space_ + slot_ * kRecord;
    slot_ = slot_ + 1 == kSlots ? 0 : slot_ + 1;
    fetch();
    return at;
  }
  __device__ __forceinline__ void close() { wait_for_copies<0>(); }

 private:
  __device__ __forceinline__ void find() {
    if (block_ >= a_.blocks) return;
    const Place place = place_of(a_, block_);
    tile_ = place.part->weights + size_t{place.tile} * tile_bytes_;
  }
  __device__ __forceinline__ void fetch() {
    if (block_ < a_.blocks) {
      const uint32_t lane = threadIdx.x % kWarp;
      const size_t from = size_t{record_} * kRecord;
      uint8_t* to = space_ + free_ * kRecord;
#pragma unroll
      for (uint32_t i = 0; i < (kRecord + 511) / 512; ++i) {
        const uint32_t at = i * 512 + lane * 16;
        if (at < kRecord) {
          const bool used = from + at < tile_bytes_;
          copy_16(to + at, used ? tile_ + from + at : tile_, used);
        }
      }
      record_ += blockDim.x / kWarp;
      if (record_ >= records_) {
        record_ = threadIdx.x / kWarp;
        block_ += gridDim.x;
        find();
      }
      free_ = free_ + 1 == kSlots ? 0 : free_ + 1;
    }
    commit_copies();
  }

  const LinearArguments& a_;
  uint8_t* space_;
  uint32_t records_;
  size_t tile_bytes_;
  const uint8_t* tile_ = nullptr;
  uint32_t block_, record_, slot_ = 0, free_ = 0;  // block_, record_: fetched next
};

// Where the warps' sums of a tile meet: twice, so that one barrier a tile will do.
struct Meeting {
  float* space;  // [2][warps][kFloats]
  uint32_t turn = 0;
};
constexpr uint32_t kSingleFloats = 16, kTileFloats = 128;

// One token's sums of a tile, added in the warps' order.
__device__ __forceinline__ void finish_single(const Place& place, const float (&sums)[4], Meeting& meeting) {
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  float* all = meeting.space + meeting.turn * warps * kSingleFloats;
  meeting.turn ^= 1;
  if (lane % 4 == 0) {
    all[warp * kSingleFloats + lane / 4] = sums[0];
    all[warp * kSingleFloats + lane / 4 + 8] = sums[2];
  }
  __syncthreads();
  if (threadIdx.x >= kTileRows) return;
  const Part& part = *place.part;
  const uint32_t row = place.tile * kTileRows + threadIdx.x - part.first_row;
  if (row >= part.n) return;
  float sum = all[threadIdx.x];
  for (uint32_t w = 1; w < warps; ++w) sum += all[w * kSingleFloats + threadIdx.x];
  if (part.bias != nullptr) sum += part.bias[row];
  part.out[row] = sum;
  if (part.sum != nullptr) part.sum[row] += sum;
}

template <int kTiles>
__device__ __forceinline__ void finish_tiles(const Place& place, uint32_t rows, uint32_t first_token,
                                             const float (&sums)[kTiles][4], Meeting& meeting) {
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Part& part = *place.part;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float* all = meeting.space + meeting.turn * warps * kTileFloats;
    meeting.turn ^= 1;
    float* mine = all + warp * kTileFloats;  // [token][row]
#pragma unroll
    for (int i = 0; i < 4; ++i) mine[(lane % 4 * 2 + i % 2) * 16 + lane / 4 + i / 2 * 8] = sums[tile][i];
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < kTileFloats; i += blockDim.x) {
      const uint32_t token = static_cast<uint32_t>(tile) * kTileTokens + i / 16;
      const uint32_t row = place.tile * kTileRows + i % 16 - part.first_row;
      if (token >= rows || row >= part.n) continue;
      float sum = all[i];
      for (uint32_t w = 1; w < warps; ++w) sum += all[w * kTileFloats + i];
      if (part.bias != nullptr) sum += part.bias[row];
      part.out[size_t{first_token + token} * part.out_stride + row] = sum;
      if (part.sum != nullptr) part.sum[size_t{first_token + token} * part.sum_stride + row] += sum;
    }
  }
}

// Most warps that shared memory has room for, with one token's input.
inline uint32_t ring_warps(const Stream& stream, uint32_t ring, uint32_t k) {
  const int64_t room = int64_t{stream.shared} - 4096 - int64_t{k} * 4;
  const int64_t warps = room / (ring + 1280);
  return static_cast<uint32_t>(warps < 1 ? 1 : warps > 16 ? 16 : warps);
}

inline void launch_ring(Stream& stream, void (*kernel)(LinearArguments), LinearArguments& a, uint32_t groups,
                        uint32_t threads, size_t bytes) {
  launch_resident(stream, kernel, a, a.blocks, groups, threads, bytes);
}

}  // namespace cairn::cuda
