// Attention of a chunk of one sequence on tensor cores: a block takes 64 tokens of a head, a warp 16 of them,
// and goes through the pages that they see, keeping the softmax's sums as FlashAttention-2 does (arXiv
// 2307.08691, algorithm 1).
#include "cuda/copies.cuh"
#include "cuda/launch.hpp"
#include "cuda/mma.cuh"

namespace cairn::cuda {
namespace {

struct ChunkArguments {
  CudaCommand command;
  CudaStep step;
};

constexpr uint32_t kTokens = 64, kThreads = 128;

__device__ __forceinline__ uint32_t two_halves(float a, float b) {
  const __half2 both = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&both);
}
template <bool kTransposed>
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], const __half* at) {
  const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(at));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(from));
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(from));
  }
}

template <int kSize>
__global__ void __launch_bounds__(kThreads) chunk_kernel(const __grid_constant__ ChunkArguments a) {
  constexpr int kPitch = kSize + 8, kSteps = kSize / 16;  // of 16 features
  extern __shared__ __align__(16) __half shared[];        // [2][keys, values][64][kPitch]
  const CudaCommand& c = a.command;
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, head = blockIdx.y;
  const uint32_t kv = head / (c.heads / c.kv_heads);
  // The last tokens see most: they begin first.
  const uint32_t first = (gridDim.x - 1 - blockIdx.x) * kTokens;
  wait_for_previous();
  let_next_start();
  const CudaSlice slice = a.step.slices[0];
  const uint32_t rows = min(c.rows, slice.first_row + slice.rows);
  const auto position_of = [&](uint32_t row) { return slice.position + row - slice.first_row; };
  const uint32_t own = first + warp * 16 + lane / 4;  // and own + 8
  uint32_t q[kSteps][4];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t row = own + j % 2 * 8, at = i * 16 + j / 2 * 8 + lane % 4 * 2;
      const float* from = c.in + size_t{row} * c.in_stride + head * kSize + at;
      q[i][j] = row < rows ? two_halves(from[0] * c.factor, from[1] * c.factor) : 0;
    }
  }
  const uint32_t end = position_of(min(first + kTokens, rows) - 1) + 1, low = position_of(first);
  const uint32_t seen = c.window != 0 && low + 1 > c.window ? low + 1 - c.window : 0;
  const uint32_t begin_page = seen / kCudaPage,
                 end_page = first < rows ? (end + kCudaPage - 1) / kCudaPage : 0;
  const auto fetch = [&](uint32_t page) {
    if (page < end_page) {
      const __half* keys =
          reinterpret_cast<const __half*>(c.pages + a.step.pages[slice.table + page] * c.page_bytes) +
          size_t{kv} * kCudaPage * kSize;
      const __half* values = keys + size_t{c.kv_heads} * kCudaPage * kSize;
      __half* to = shared + page % 2 * 2 * kCudaPage * kPitch;
      for (uint32_t i = threadIdx.x; i < kCudaPage * kSize / 8; i += kThreads) {
        const uint32_t row = i / (kSize / 8), piece = i % (kSize / 8) * 8;
        copy_16(to + row * kPitch + piece, keys + row * kSize + piece, true);
        // What lies behind the text may be anything, and 0 times it no number.
        copy_16(to + (kCudaPage + row) * kPitch + piece, values + row * kSize + piece,
                page * kCudaPage + row < end);
      }
    }
    commit_copies();
  };
  float sums[2 * kSteps][4] = {}, most[2] = {-INFINITY, -INFINITY}, all[2] = {};
  fetch(begin_page);
  for (uint32_t page = begin_page; page < end_page; ++page) {
    fetch(page + 1);
    wait_for_copies<1>();
    __syncthreads();
    const __half* keys = shared + page % 2 * 2 * kCudaPage * kPitch;
    const __half* values = keys + kCudaPage * kPitch;
    float scores[8][4] = {};
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i + 1 < kSteps; i += 2) {
        uint32_t b[4];
        load_matrices<false>(b, keys + (n * 8 + lane % 8) * kPitch + i * 16 + lane / 8 * 8);
        mma_half(scores[n], q[i], b[0], b[1]);
        mma_half(scores[n], q[i + 1], b[2], b[3]);
      }
      if constexpr (kSteps % 2 == 1) {
        uint32_t b[4];
        load_matrices<false>(b, keys + (n * 8 + lane % 8) * kPitch + (kSteps - 1) * 16 + lane / 8 % 2 * 8);
        mma_half(scores[n], q[kSteps - 1], b[0], b[1]);
      }
    }
    float now[2] = {most[0], most[1]};
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t at = page * kCudaPage + static_cast<uint32_t>(n) * 8 + lane % 4 * 2 + i % 2;
        const uint32_t mine = position_of(own + i / 2 * 8);
        float& s = scores[n][i];
        if (c.cap != 0) s = c.cap * tanhf(s / c.cap);
        if (at > mine || (c.window != 0 && at + c.window <= mine)) s = -INFINITY;
        now[i / 2] = fmaxf(now[i / 2], s);
      }
    }
    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      now[i] = fmaxf(now[i], __shfl_xor_sync(0xFFFFFFFF, now[i], 1));
      now[i] = fmaxf(now[i], __shfl_xor_sync(0xFFFFFFFF, now[i], 2));
      factor[i] = most[i] == -INFINITY ? 0 : __expf(most[i] - now[i]);
      most[i] = now[i];
      all[i] *= factor[i];
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float p = scores[n][i] == -INFINITY ? 0 : __expf(scores[n][i] - most[i / 2]);
        scores[n][i] = p;
        all[i / 2] += p;
      }
    }
#pragma unroll
    for (int n = 0; n < 2 * kSteps; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[n][i] *= factor[i / 2];
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {  // 16 positions
      const uint32_t p[4] = {two_halves(scores[2 * k][0], scores[2 * k][1]),
                             two_halves(scores[2 * k][2], scores[2 * k][3]),
                             two_halves(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                             two_halves(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kSteps; ++n) {  // 16 features
        uint32_t b[4];
        load_matrices<true>(b, values + (k * 16 + lane % 16) * kPitch + n * 16 + lane / 16 * 8);
        mma_half(sums[2 * n], p, b[0], b[1]);
        mma_half(sums[2 * n + 1], p, b[2], b[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    all[i] += __shfl_xor_sync(0xFFFFFFFF, all[i], 1);
    all[i] += __shfl_xor_sync(0xFFFFFFFF, all[i], 2);
    const uint32_t row = own + static_cast<uint32_t>(i) * 8;
    if (row >= c.rows) continue;
    const float factor = row < rows ? 1 / all[i] : 0;
    float* to = c.out + size_t{row} * c.out_stride + head * kSize + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < 2 * kSteps; ++n) {
      to[n * 8] = sums[n][2 * i] * factor;
      to[n * 8 + 1] = sums[n][2 * i + 1] * factor;
    }
  }
  wait_for_copies<0>();
}

template <int kSize>
bool launch_size(Stream& stream, const ChunkArguments& a) {
  const size_t bytes = size_t{4} * kCudaPage * (kSize + 8) * sizeof(__half);
  if (bytes > stream.shared) return false;
  stream.launch(chunk_kernel<kSize>, dim3((a.command.rows + kTokens - 1) / kTokens, a.command.heads),
                kThreads, bytes, a);
  return true;
}

}  // namespace

bool launch_chunk_attention(Stream& stream, const CudaStep& step, const CudaCommand& command) {
  if (command.slices != 1 || command.page_bytes % 16 != 0 ||
      reinterpret_cast<uintptr_t>(command.pages) % 16 != 0) {
    return false;
  }
  const ChunkArguments a{command, step};
  switch (command.head_size) {
    case 32:
      return launch_size<32>(stream, a);
    case 64:
      return launch_size<64>(stream, a);
    case 80:
      return launch_size<80>(stream, a);
    case 96:
      return launch_size<96>(stream, a);
    case 128:
      return launch_size<128>(stream, a);
    case 256:
      return launch_size<256>(stream, a);
    default:
      return false;
  }
}

}  // namespace cairn::cuda
