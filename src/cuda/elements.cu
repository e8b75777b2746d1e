// Ops on single features or heads.
#include "cuda/common.cuh"
#include "cuda/launch.hpp"

namespace cairn::cuda {
namespace {

constexpr uint32_t kThreads = 256;

__global__ void scale_kernel(const __grid_constant__ CudaCommand a) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  wait_for_previous();
  let_next_start();
  if (i >= a.width) return;
  for (uint32_t row = blockIdx.y; row < a.rows; row += gridDim.y) {
    const float x = a.in[size_t{row} * a.in_stride + i];
    a.out[size_t{row} * a.out_stride + i] =
        a.op == CudaOp::softcap ? a.factor * tanhf(x / a.factor) : x * a.factor;
  }
}

__global__ void take_kernel(const __grid_constant__ CudaCommand a) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  wait_for_previous();
  let_next_start();
  if (i >= a.width) return;
  for (uint32_t row = blockIdx.y; row < a.rows; row += gridDim.y) {
    const auto from = static_cast<uint32_t>(static_cast<const int32_t*>(a.weight)[row]);
    a.out[size_t{row} * a.out_stride + i] = a.in[size_t{from} * a.in_stride + i];
  }
}

// A warp is a head.
__global__ void norm_heads_kernel(const __grid_constant__ CudaCommand a) {
  const uint32_t head = blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  wait_for_previous();
  let_next_start();
  if (head >= a.heads) return;
  const uint32_t width = a.width / a.heads;
  const float* weight = static_cast<const float*>(a.weight);
  if (weight != nullptr && a.own != 0) weight += head * width;
  for (uint32_t row = blockIdx.y; row < a.rows; row += gridDim.y) {
    const float* in = a.in + size_t{row} * a.in_stride + head * width;
    float* out = a.out + size_t{row} * a.out_stride + head * width;
    float shift = 0, squares = 0;
    if (a.op == CudaOp::norm_layer) {
      for (uint32_t i = lane; i < width; i += kWarp) shift += in[i];
      shift = sum_of_warp(shift) / static_cast<float>(width);
    }
    for (uint32_t i = lane; i < width; i += kWarp) squares += (in[i] - shift) * (in[i] - shift);
    const float factor = 1 / sqrtf(sum_of_warp(squares) / static_cast<float>(width) + a.epsilon);
    for (uint32_t i = lane; i < width; i += kWarp) {
      float x = (in[i] - shift) * factor;
      if (weight != nullptr) x *= weight[i];
      if (a.bias != nullptr) x += a.bias[a.own != 0 ? head * width + i : i];
      out[i] = x;
    }
  }
}

struct RopeArguments {
  CudaCommand query, key, store;
  CudaStep step;
  uint32_t queries, keys, stored, rows;  // heads, 0: there is none
};

__device__ void turn(const CudaCommand& a, uint32_t row, uint32_t head, uint32_t position) {
  float* x = const_cast<float*>(a.in) + size_t{row} * a.in_stride + head * a.head_size + a.offset;
  const uint32_t half = a.dims / 2;
  const float* cosines = static_cast<const float*>(a.weight) + size_t{position} * a.dims;
  for (uint32_t i = threadIdx.x; i < half; i += blockDim.x) {
    const uint32_t first = a.neox != 0 ? i : 2 * i, second = a.neox != 0 ? i + half : 2 * i + 1;
    const float2 pair = turned(x[first], x[second], cosines[i], cosines[half + i]);
    x[first] = pair.x;
    x[second] = pair.y;
  }
}

// A page of the token in `row`; null: the row is no slice's.
__device__ std::byte* page_of(const CudaCommand& a, const CudaStep& step, uint32_t row, uint32_t position) {
  for (uint32_t i = 0; i < a.slices; ++i) {
    const CudaSlice slice = step.slices[i];
    if (row - slice.first_row < slice.rows) {
      return a.pages + step.pages[slice.table + position / kCudaPage] * a.page_bytes;
    }
  }
  return nullptr;
}

// A block is a head of a token's queries, keys or values.
__global__ void rope_kernel(const __grid_constant__ RopeArguments a) {
  wait_for_previous();
  let_next_start();
  const uint32_t row = blockIdx.y;
  const auto position = static_cast<uint32_t>(a.step.positions[row]);
  uint32_t head = blockIdx.x;
  if (head < a.queries) return turn(a.query, row, head, position);
  head -= a.queries;
  if (a.stored == 0) return turn(a.key, row, head, position);
  const uint32_t size = a.store.head_size;
  const bool value = head >= a.stored;
  if (value) head -= a.stored;
  if (!value && a.keys != 0) {
    turn(a.key, row, head, position);
    __syncthreads();
  }
  std::byte* page = page_of(a.store, a.step, row, position);
  if (page == nullptr) return;
  const float* from =
      value ? a.store.in2 + size_t{row} * a.store.in2_stride : a.store.in + size_t{row} * a.store.in_stride;
  __half* to = reinterpret_cast<__half*>(page) +
               (size_t{(value ? a.stored : 0) + head} * kCudaPage + position % kCudaPage) * size;
  for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
    to[i] = stored_half(from[head * size + i]);
  }
}

dim3 over_rows(const CudaCommand& command, uint32_t blocks) {
  return {blocks, command.rows < 65535 ? command.rows : 65535};
}

}  // namespace

void launch_scale(Stream& stream, const CudaCommand& command) {
  stream.launch(scale_kernel, over_rows(command, (command.width + kThreads - 1) / kThreads), kThreads, 0,
                command);
}

void launch_softcap(Stream& stream, const CudaCommand& command) {
  launch_scale(stream, command);
}

void launch_take(Stream& stream, const CudaCommand& command) {
  stream.launch(take_kernel, over_rows(command, (command.width + kThreads - 1) / kThreads), kThreads, 0,
                command);
}

void launch_norm_heads(Stream& stream, const CudaCommand& command) {
  stream.launch(norm_heads_kernel, over_rows(command, (command.heads + 3) / 4), 128, 0, command);
}

void launch_rope(Stream& stream, const CudaStep& step, const CudaCommand* query, const CudaCommand* key,
                 const CudaCommand* store) {
  RopeArguments a{};
  a.step = step;
  if (query != nullptr) a.query = *query, a.queries = query->heads, a.rows = query->rows;
  if (key != nullptr) a.key = *key, a.keys = key->heads, a.rows = key->rows;
  if (store != nullptr) a.store = *store, a.stored = store->kv_heads, a.rows = store->rows;
  const uint32_t blocks = a.queries + (a.stored != 0 ? 2 * a.stored : a.keys);
  stream.launch(rope_kernel, dim3(blocks, a.rows), 64, 0, a);
}

}  // namespace cairn::cuda
