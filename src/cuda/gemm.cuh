// Products of many tokens on tensor cores, in f16 or bf16: a block takes 256 rows and 128 tokens. Each warp
// unpacks its 16 rows' weights in registers, straight out of the records; activations, 64 columns at a time,
// go through shared memory. Hopper multiplies by wgmma, others by mma.sync.
#pragma once

#include "cuda/copies.cuh"
#include "cuda/forms.cuh"
#include "cuda/launch.hpp"
#include "cuda/wgmma.cuh"

namespace cairn::cuda {

constexpr uint32_t kGemmTokens = 128, kGemmTiles = 16, kGemmRows = 16 * kGemmTiles,
                   kGemmThreads = 32 * kGemmTiles, kStages = 4, kStageColumns = 64,
                   kStageBytes = kGemmTokens * kStageColumns * 2;

// Weights of 16 bits as they are (pack.cu).
template <bool kHalfs>
struct Halves {
  static constexpr bool kHalf = kHalfs;
  static constexpr int kColumns = 64, kGroups = 2, kRecord = 4 * 512;
  uint4 words[4];
  // steps: of 16 columns there are in the record.
  __device__ __forceinline__ void load(const uint8_t* record, uint32_t lane, uint32_t steps) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      words[i] = i < steps ? load_once(reinterpret_cast<const uint4*>(record) + i * 32 + lane) : uint4{};
    }
  }
  template <int kGroupAt>
  __device__ __forceinline__ void unpack(uint32_t (&a)[8]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint4 w = words[2 * kGroupAt + i];
      a[4 * i] = w.x, a[4 * i + 1] = w.y, a[4 * i + 2] = w.z, a[4 * i + 3] = w.w;
    }
  }
};

// Codes become f16 numbers: a byte is the low end of a half between 1,024 and 2,048.
template <class F>
struct Unpacked {
  static constexpr bool kHalf = true;
  static constexpr int kColumns = F::kColumns, kGroups = F::kGroups, kRecord = F::kRecord;
  F form;
  __device__ __forceinline__ void load(const uint8_t* record, uint32_t lane, uint32_t) {
    form.load(record, lane);
  }
  template <int kGroupAt>
  __device__ __forceinline__ void unpack(uint32_t (&a)[8]) const {
    uint32_t codes[4];
    form.codes(kGroupAt, codes);
    const __half2 zero = __float2half2_rn(1024.0f + (F::kSigned ? 128 : F::kZero));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int sub = 0; sub < 2; ++sub) {
        const float2 scale = sub == 0 || F::kSubscales == 1 ? form.template scale<kGroupAt, 0>(half)
                                                            : form.template scale<kGroupAt, 1>(half);
        const __half2 factor = __float2half2_rn(scale.x), offset = __float2half2_rn(scale.y);
        const uint32_t word = codes[half + 2 * sub] ^ (F::kSigned ? 0x80808080u : 0u);
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          const uint32_t bits = __byte_perm(word, 0x64646464, pair == 0 ? 0x4140 : 0x4342);
          __half2 w = __hsub2(*reinterpret_cast<const __half2*>(&bits), zero);
          w = F::kOffset ? __hfma2(w, factor, offset) : __hmul2(w, factor);
          a[4 * sub + 2 * pair + half] = *reinterpret_cast<const uint32_t*>(&w);
        }
      }
    }
  }
};

struct GemmArguments {
  Part parts[kMostParts];
  uint32_t first_block[kMostParts];
  uint32_t rows, k, width;  // of x: k rounded up to 64
  const uint16_t* x;        // [rows][width]
  const float* scales;      // [rows], or null
  float* partial;           // of several splits: [split][row block][token block][128 tokens][256 rows]
  uint32_t splits;
};

#if CAIRN_WGMMA
template <int kLeft>
__device__ __forceinline__ void wgmma_left_alone() {
  wgmma_wait<kLeft>();
}
#else
template <int>
__device__ __forceinline__ void wgmma_left_alone() {}
__device__ __forceinline__ void shared_is_written() {}
#endif

template <bool kHalf>
__device__ __forceinline__ void multiply_stage(float (&c)[64], const uint32_t (&a)[8], const uint8_t* stage,
                                               int group) {
#if CAIRN_WGMMA
  const uint64_t b = swizzled(stage) + static_cast<uint64_t>(group * 4);
  wgmma_fence();
  if constexpr (kHalf) {
    wgmma_half(c, a, b);
    wgmma_half(c, a + 4, b + 2);
  } else {
    wgmma_bf16(c, a, b);
    wgmma_bf16(c, a + 4, b + 2);
  }
  wgmma_commit();
#else
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t first[4] = {a[0], a[1], a[2], a[3]}, second[4] = {a[4], a[5], a[6], a[7]};
#pragma unroll
  for (int n = 0; n < 16; ++n) {
    // Four matrices of 8 tokens and 8 columns, 32 columns in all.
    const uint32_t token = static_cast<uint32_t>(n) * 8 + lane % 8,
                   piece = static_cast<uint32_t>(group) * 4 + lane / 8;
    const auto at =
        static_cast<uint32_t>(__cvta_generic_to_shared(stage + token * 128 + ((piece ^ (token & 7)) << 4)));
    uint32_t b[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(at));
    float sums[4] = {c[4 * n], c[4 * n + 1], c[4 * n + 2], c[4 * n + 3]};
    if constexpr (kHalf) {
      mma_half(sums, first, b[0], b[1]);
      mma_half(sums, second, b[2], b[3]);
    } else {
      mma_bf16(sums, first, b[0], b[1]);
      mma_bf16(sums, second, b[2], b[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) c[4 * n + i] = sums[i];
  }
#endif
}

template <class W>
__global__ void __launch_bounds__(kGemmThreads, 1) gemm_kernel(const __grid_constant__ GemmArguments a) {
  extern __shared__ __align__(1024) uint8_t unaligned[];
  uint8_t* space = unaligned + (1024 - __cvta_generic_to_shared(unaligned) % 1024) % 1024;
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  uint32_t index = 0;
  while (index + 1 < kMostParts && blockIdx.y >= a.first_block[index + 1]) ++index;
  const Part& part = a.parts[index];
  const uint32_t tiles = (part.matrix_rows + kTileRows - 1) / kTileRows;
  const uint32_t tile = part.first_row / kTileRows + (blockIdx.y - a.first_block[index]) * kGemmTiles + warp;
  constexpr bool kPlain = std::is_same_v<W, Halves<true>> || std::is_same_v<W, Halves<false>>;
  const uint32_t steps = (a.k + 15) / 16, records = (a.k + W::kColumns - 1) / W::kColumns;
  const size_t tile_bytes = kPlain ? size_t{steps} * 512 : size_t{records} * W::kRecord;
  const uint8_t* weights = part.weights + min(tile, tiles - 1) * tile_bytes;
  constexpr uint32_t kEach = W::kColumns / kStageColumns;  // stages of a record
  const uint32_t stages = a.width / kStageColumns;
  const uint32_t begin = records * blockIdx.z / a.splits, end = records * (blockIdx.z + 1) / a.splits;
  const uint32_t last = min(end * kEach, stages);
  W now, next;
  if (begin < end) now.load(weights + size_t{begin} * W::kRecord, lane, steps - begin * 4);
  wait_for_previous();
  let_next_start();
  const uint32_t first_token = blockIdx.x * kGemmTokens;
  const auto fetch = [&](uint32_t stage) {
    uint8_t* to = space + stage % kStages * kStageBytes;
#pragma unroll
    for (uint32_t i = 0; i < kGemmTokens * 8 / kGemmThreads; ++i) {
      const uint32_t at = i * kGemmThreads + threadIdx.x, token = at / 8, piece = at % 8;
      const bool used = stage < last && first_token + token < a.rows;
      copy_16(to + token * 128 + ((piece ^ (token & 7)) << 4),
              used ? a.x + size_t{first_token + token} * a.width + stage * kStageColumns + piece * 8 : a.x,
              used);
    }
    commit_copies();
  };
  for (uint32_t i = 0; i + 2 < kStages; ++i) fetch(begin * kEach + i);
  float c[64];
#pragma unroll
  for (float& x : c) x = 0;
  uint32_t fragments[2][8];
  for (uint32_t record = begin; record < end; ++record) {
    if (record + 1 < end)
      next.load(weights + size_t{record + 1} * W::kRecord, lane, steps - (record + 1) * 4);
    const auto stage_of = [&](auto which) {
      constexpr int kWhich = decltype(which)::value;
      const uint32_t stage = record * kEach + kWhich;
      if (stage >= last) return;
      // Both halves are unpacked first: between products that are under way nothing may write registers that
      // they read.
      now.template unpack<2 * kWhich>(fragments[0]);
      now.template unpack<2 * kWhich + 1>(fragments[1]);
      wait_for_copies<kStages - 3>();
      shared_is_written();
      __syncthreads();
      const uint8_t* from = space + stage % kStages * kStageBytes;
      multiply_stage<W::kHalf>(c, fragments[0], from, 0);
      multiply_stage<W::kHalf>(c, fragments[1], from, 1);
      fetch(stage + kStages - 2);  // where all warps have multiplied stage − 2
      wgmma_left_alone<0>();
    };
    stage_of(Constant<0>());
    if constexpr (kEach >= 2) stage_of(Constant<1>());
    if constexpr (kEach >= 4) stage_of(Constant<2>()), stage_of(Constant<3>());
    now = next;
  }
  wgmma_left_alone<0>();
  wait_for_copies<0>();
  // Of 8 tokens a lane has two, of rows lane / 4 and that + 8.
  float* partial = nullptr;
  if (a.splits > 1) {
    partial = a.partial + ((size_t{blockIdx.z} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) *
                              kGemmTokens * kGemmRows;
  }
#pragma unroll
  for (int n = 0; n < 16; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t token = static_cast<uint32_t>(n) * 8 + lane % 4 * 2 + i % 2, row = lane / 4 + i / 2 * 8;
      if (partial != nullptr) {
        partial[token * kGemmRows + warp * 16 + row] = c[4 * n + i];
        continue;
      }
      const uint32_t to = tile * kTileRows + row - part.first_row;
      if (first_token + token >= a.rows || to >= part.n) continue;
      float y = c[4 * n + i];
      if (a.scales != nullptr) y *= a.scales[first_token + token];
      if (part.bias != nullptr) y += part.bias[to];
      part.out[size_t{first_token + token} * part.out_stride + to] = y;
    }
  }
}

}  // namespace cairn::cuda
