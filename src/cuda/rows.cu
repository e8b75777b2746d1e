// What is done to each token by itself (sums, gates, norms, rotations), and activations as products read them.
#include "cuda/emit.cuh"

namespace cairn::cuda {
namespace {

__device__ __forceinline__ float load(const RowArguments& a, uint32_t row, uint32_t i) {
  const float x = a.in[size_t{row} * a.in_stride + i];
  switch (a.load) {
    case Load::add:
      return x + a.in2[size_t{row} * a.in2_stride + i];
    case Load::gate:
      return gated(a.activation, x, a.in2[size_t{row} * a.in2_stride + i]);
    case Load::activate:
      return activation_of(a.activation, x);
    default:
      return x;
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
  for (uint32_t i = tid; i < a.width; i += threads) {
    const float x = load(a, row, i);
    v[i] = x;
    sum += x;
    if (a.loaded != nullptr) a.loaded[size_t{row} * a.loaded_stride + i] = x;
  }
  if (a.norm != Norm::none) {
    const float width = static_cast<float>(a.width);
    float mean = 0, shift = 0;
    if (a.norm == Norm::rms) {
      __syncthreads();
      mean = sum_of_squares(a.width, space, [&](uint32_t i) { return v[i]; }) / width;
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
    if (a.signs != nullptr) {
      for (uint32_t i = tid; i < a.width; i += threads) v[i] *= a.signs[i];
    }
    for (uint32_t half = 1; half < a.block; half *= 2) {
      __syncthreads();
      for (uint32_t i = tid; i < a.width / 2; i += threads) {
        const uint32_t at = i / half * 2 * half + i % half;
        const float x = v[at], y = v[at + half];
        v[at] = x + y;
        v[at + half] = x - y;
      }
    }
    __syncthreads();
    const float factor = rsqrtf(static_cast<float>(a.block));
    const uint32_t blocks = a.width / a.block;
    for (uint32_t i = tid; i < a.width; i += threads) {
      float x = 0;
      if (mixed) {
        const float* m = a.mix + i / a.block * blocks;
        for (uint32_t j = 0; j < blocks; ++j) x += m[j] * v[j * a.block + i % a.block];
        x *= factor;
      } else {
        x = v[i] * factor;
        v[i] = x;
      }
      rotated[i] = x;
    }
  }
  if (a.kind == Kind::none) return;
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
    stream.launch(row_kernel, a.rows, threads, a.width * sizeof(float), a);
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
    stream.launch(flat_kernel, dim3((max(width, a.width) + threads - 1) / threads, some.rows), threads, 0, some);
  }
}

}  // namespace cairn::cuda
