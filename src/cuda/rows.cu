// What is done to each token by itself (sums, gates, norms, rotations), and activations as products read
// them.
#include "cuda/emit.cuh"

namespace cairn::cuda {
namespace {

__device__ __forceinline__ float made(const RowArguments& a, float x, float y) {
  switch (a.load) {
    case Load::add:
      return x + y;
    case Load::gate:
      return gated(a.activation, x, y);
    case Load::activate:
      return activation_of(a.activation, x);
    default:
      return x;
  }
}
__device__ __forceinline__ float load(const RowArguments& a, uint32_t row, uint32_t i) {
  const bool two = a.load == Load::add || a.load == Load::gate;
  return made(a, a.in[size_t{row} * a.in_stride + i], two ? a.in2[size_t{row} * a.in2_stride + i] : 0);
}

// Each `block` of v, after signs, times the Hadamard matrix, not scaled.
__device__ __forceinline__ void hadamard(const RowArguments& a, float* v) {
  const uint32_t threads = blockDim.x, lane = threadIdx.x % kWarp,
                 whole = (a.width + kWarp - 1) / kWarp * kWarp;
  // The first five steps are among a warp's lanes.
  for (uint32_t i = threadIdx.x; i < whole; i += threads) {
    float x = i < a.width ? v[i] : 0;
    if (i < a.width && a.signs != nullptr) x *= a.signs[i];
    for (uint32_t half = 1; half < a.block && half < kWarp; half *= 2) {
      const float other = __shfl_xor_sync(0xFFFFFFFF, x, half);
      x = lane & half ? other - x : x + other;
    }
    if (i < a.width) v[i] = x;
  }
  uint32_t half = kWarp;
  for (; half * 4 <= a.block; half *= 4) {  // two steps at once
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < a.width / 4; i += threads) {
      float* at = v + i / half * 4 * half + i % half;
      const float p = at[0] + at[half], q = at[0] - at[half], r = at[2 * half] + at[3 * half],
                  s = at[2 * half] - at[3 * half];
      at[0] = p + r, at[half] = q + s, at[2 * half] = p - r, at[3 * half] = q - s;
    }
  }
  for (; half < a.block; half *= 2) {
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < a.width / 2; i += threads) {
      float* at = v + i / half * 2 * half + i % half;
      const float p = at[0], q = at[half];
      at[0] = p + q, at[half] = p - q;
    }
  }
}

// out[i][c] = factor · Σ_j M[i][j] · v[j][c]. A thread has a column and every so many rows of M, four at a
// time.
__device__ __forceinline__ void mix(const RowArguments& a, const float* v, float factor, float* out) {
  constexpr uint32_t kRows = 4;
  const uint32_t blocks = a.width / a.block, columns = min(a.block, blockDim.x),
                 groups = blockDim.x / columns;
  if (threadIdx.x >= columns * groups) return;
  const uint32_t group = threadIdx.x / columns;
  for (uint32_t c = threadIdx.x % columns; c < a.block; c += columns) {
    for (uint32_t first = group * kRows; first < blocks; first += groups * kRows) {
      const float* m[kRows];
#pragma unroll
      for (uint32_t i = 0; i < kRows; ++i) m[i] = a.mix + size_t{min(first + i, blocks - 1)} * blocks;
      float sums[kRows] = {};
#pragma unroll 5
      for (uint32_t j = 0; j < blocks; ++j) {
        const float x = v[j * a.block + c];
#pragma unroll
        for (uint32_t i = 0; i < kRows; ++i) sums[i] = fmaf(__ldg(m[i] + j), x, sums[i]);
      }
#pragma unroll
      for (uint32_t i = 0; i < kRows; ++i) {
        if (first + i < blocks) out[(first + i) * a.block + c] = sums[i] * factor;
      }
    }
  }
}

// A block is a token.
__global__ void row_kernel(const __grid_constant__ RowArguments a) {
  extern __shared__ float v[];
  __shared__ float space[33];
  const uint32_t row = blockIdx.x, threads = blockDim.x, tid = threadIdx.x;
  wait_for_previous();
  let_next_start();
  float sum = 0;
  const bool two = a.load == Load::add || a.load == Load::gate;
  for (uint32_t first = tid; first < a.width; first += 4 * threads) {
    float x[4], y[4];  // asked for together
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) {
      const uint32_t i = first + j * threads;
      x[j] = i < a.width ? a.in[size_t{row} * a.in_stride + i] : 0;
      y[j] = two && i < a.width ? a.in2[size_t{row} * a.in2_stride + i] : 0;
    }
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) {
      const uint32_t i = first + j * threads;
      if (i >= a.width) break;
      const float value = made(a, x[j], y[j]);
      v[i] = value;
      sum += value;
      if (a.loaded != nullptr) a.loaded[size_t{row} * a.loaded_stride + i] = value;
    }
  }
  if (a.norm != Norm::none) {
    const float width = static_cast<float>(a.width);
    float mean = 0, shift = 0;
    if (a.norm == Norm::rms) {
      __syncthreads();
      const auto four = [&](uint32_t i) {
        const auto one = [&](uint32_t j) { return i + j < a.width ? v[i + j] : 0; };
        return float4{one(0), one(1), one(2), one(3)};
      };
      mean = sum_of_squares(a.width, space, four) / width;
    } else {
      shift = over_block(sum, space, Sum()) / width;
      float squares = 0;
      for (uint32_t i = tid; i < a.width; i += threads) squares += (v[i] - shift) * (v[i] - shift);
      mean = over_block(squares, space, Sum()) / width;
    }
    const float factor = 1 / sqrtf(mean + a.epsilon);
    for (uint32_t i = tid; i < a.width; i += threads) {
      float x = (v[i] - shift) * factor;
      if (a.weight != nullptr) x *= a.weight[i];
      if (a.bias != nullptr) x += a.bias[i];
      v[i] = x;
      if (a.normed != nullptr) a.normed[size_t{row} * a.normed_stride + i] = x;
    }
  }
  const bool mixed = a.block != 0 && a.mix != nullptr;
  float* rotated = a.rotated + size_t{row} * a.rotated_stride;
  if (a.block != 0) {
    hadamard(a, v);
    __syncthreads();
    const float factor = rsqrtf(static_cast<float>(a.block));
    if (mixed) {
      mix(a, v, factor, rotated);
    } else {
      for (uint32_t i = tid; i < a.width; i += threads) {
        v[i] *= factor;
        rotated[i] = v[i];
      }
    }
  }
  if (a.kind == Kind::none) return;
  if (mixed) __syncthreads();
  float most = 0, factor = 1;
  if (has_one_scale(a.kind)) {
    bool number = true;
    for (uint32_t i = tid; i < a.width; i += threads) {
      const float x = mixed ? rotated[i] : v[i];
      most = fmaxf(most, fabsf(x));
      number = number && x == x;
    }
    most = over_block(number ? most : INFINITY, space, Most());
    factor = token_factor(a.kind, most);
    if (tid == 0) a.prepared.scales[row] = token_scale(a.kind, most);
  }
  // Threads read what they wrote themselves: groups are dealt out as features were.
  for (uint32_t i = tid; i < a.prepared.groups * kGroup; i += threads) {
    const float x = i >= a.width ? 0 : mixed ? rotated[i] : v[i];
    emit(a.kind, a.prepared, row, i / kGroup, x * factor);
  }
}

// A warp is a group of 32 of a token's features.
__global__ void flat_kernel(const __grid_constant__ RowArguments a) {
  const uint32_t row = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  wait_for_previous();
  let_next_start();
  const float x = i < a.width ? load(a, row, i) : 0;
  if (i < a.width && a.loaded != nullptr) a.loaded[size_t{row} * a.loaded_stride + i] = x;
  if (a.kind != Kind::none && i / kGroup < a.prepared.groups) emit(a.kind, a.prepared, row, i / kGroup, x);
}

bool needs_row(const RowArguments& a) {
  return a.norm != Norm::none || a.block != 0 || has_scale(a.kind);
}

}  // namespace

bool fits(const Stream& stream, const RowArguments& a) {
  return !needs_row(a) || a.width * sizeof(float) + 1024 <= stream.shared;
}

void launch_rows(Stream& stream, const RowArguments& a) {
  if (a.rows == 0) return;
  if (needs_row(a)) {
    const uint32_t threads = a.width <= 1024 ? 256 : a.width <= 4096 ? 512 : 1024;
    // Reads of four may go beyond the end.
    stream.launch(row_kernel, a.rows, threads, (a.width + 16) * sizeof(float), a);
    return;
  }
  const uint32_t width = a.kind == Kind::none ? a.width : a.prepared.groups * kGroup;
  const uint32_t threads = width < 4096 ? 128 : 256;
  for (uint32_t first = 0; first < a.rows; first += 65528) {  // what a grid's y holds, whole tiles
    RowArguments some = a;
    some.rows = a.rows - first < 65528 ? a.rows - first : 65528;
    if (first != 0) {
      some.in += size_t{first} * a.in_stride;
      if (some.in2 != nullptr) some.in2 += size_t{first} * a.in2_stride;
      if (some.loaded != nullptr) some.loaded += size_t{first} * a.loaded_stride;
      some.prepared = shifted(a.kind, a.prepared, first / kTileTokens);
    }
    stream.launch(flat_kernel, dim3((max(width, a.width) + threads - 1) / threads, some.rows), threads, 0,
                  some);
  }
}

}  // namespace cairn::cuda
