// Attention of few tokens: a block takes a page of a sequence and some heads of one token that share its
// keys; what the pages' blocks leave is joined in the pages' order. So a token's bits depend on its own
// sequence alone.
#include "cuda/emit.cuh"

namespace cairn::cuda {
namespace {

constexpr uint32_t kWarps = 16, kEach = kCudaPage / kWarps;  // positions of a warp

struct AttentionArguments {
  CudaCommand command;
  CudaStep step;
  float* partial;  // [token][head][page]: head_size sums, their weight, the largest score
  uint32_t pages, groups;
  Kind kind;
  Activations prepared;
  CudaCommand query, key;  // of one token alone: RoPE and what is stored, done on the way
  const float* value;
};

// Which of a token's positions it sees.
struct Seen {
  uint32_t first, end, table;
};
__device__ Seen seen_by(const AttentionArguments& a, uint32_t row, uint32_t* found) {
  const auto end = static_cast<uint32_t>(a.step.positions[row]) + 1;
  if (a.command.slices > 1) {
    if (threadIdx.x == 0) *found = UINT32_MAX;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < a.command.slices; i += blockDim.x) {
      const CudaSlice slice = a.step.slices[i];
      if (row - slice.first_row < slice.rows) *found = slice.table;
    }
    __syncthreads();
  }
  const CudaSlice only = a.step.slices[0];
  const uint32_t table = a.command.slices > 1               ? *found
                         : row - only.first_row < only.rows ? only.table
                                                            : UINT32_MAX;
  if (table == UINT32_MAX) return {0, 0, 0};
  const uint32_t window = a.command.window;
  return {window != 0 && end > window ? end - window : 0, end, table};
}

__device__ __forceinline__ void to_floats(uint4 v, float (&out)[8]) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 both = __half22float2(*reinterpret_cast<const __half2*>(words + i));
    out[2 * i] = both.x, out[2 * i + 1] = both.y;
  }
}

// Eight features of a head from `at` on, turned as `rope` says; cosines and sines of them.
__device__ __forceinline__ void read_8(const float* from, float (&to)[8]) {
  const float4 a = *reinterpret_cast<const float4*>(from), b = *reinterpret_cast<const float4*>(from + 4);
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}
struct Turn {
  bool turns, first;
  uint32_t partner;
  float cosines[8], sines[8];
  __device__ __forceinline__ Turn(const CudaCommand& rope, uint32_t position, uint32_t at) {
    const uint32_t half = rope.dims / 2, inside = at - rope.offset;
    turns = inside < rope.dims, first = inside < half;
    partner = first ? at + half : at - half;
    if (!turns) return;
    const float* table =
        static_cast<const float*>(rope.weight) + size_t{position} * rope.dims + inside % half;
    read_8(table, cosines);
    read_8(table + half, sines);
  }
  __device__ __forceinline__ void of(const float* head, uint32_t at, float (&to)[8]) const {
    float own[8], other[8];
    read_8(head + at, own);
    if (turns) read_8(head + partner, other);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (!turns) {
        to[i] = own[i];
      } else {
        to[i] = first ? turned(own[i], other[i], cosines[i], sines[i]).x
                      : turned(other[i], own[i], cosines[i], sines[i]).y;
      }
    }
  }
};
__device__ __forceinline__ uint4 to_halves(const float (&x)[8]) {
  __half h[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) h[i] = stored_half(x[i]);
  uint4 bits;
  memcpy(&bits, h, sizeof(bits));
  return bits;
}

// kLanes lanes share a position, eight features each; kHeads heads go together. kTurns: of one token, whose
// query and key are turned, and key and value stored, here.
template <int kLanes, int kHeads, bool kTurns>
__global__ void __launch_bounds__(kWarps* kWarp, 1)
    attention_kernel(const __grid_constant__ AttentionArguments a) {
  constexpr int kAtOnce = 32 / kLanes;
  __shared__ float scores[kHeads][kCudaPage];
  extern __shared__ float sums[];  // [warp][head][kLanes · 8]
  __shared__ float largest[kHeads], weight[kHeads];
  __shared__ uint32_t found;
  const CudaCommand& c = a.command;
  const uint32_t page = blockIdx.x, row = blockIdx.z, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t kv = blockIdx.y / a.groups, together = c.heads / c.kv_heads;
  const uint32_t first_head = blockIdx.y % a.groups * kHeads;  // of those that share keys
  // What the host wrote, and pages that steps before this one did, are there.
  const Seen seen = seen_by(a, row, &found);
  if constexpr (!kTurns) wait_for_previous(), let_next_start();
  const uint32_t begin = page * kCudaPage;
  if (begin >= seen.end || begin + kCudaPage <= seen.first) {
    if constexpr (kTurns) wait_for_previous();  // or the next kernel might not wait for all before
    return;
  }
  const uint32_t size = c.head_size, at = lane % kLanes * 8;
  const bool used = at < size;
  const __half* keys =
      reinterpret_cast<const __half*>(c.pages + a.step.pages[seen.table + page] * c.page_bytes) +
      size_t{kv} * kCudaPage * size;
  const __half* values = keys + size_t{c.kv_heads} * kCudaPage * size;
  // All that is read is asked for at once. Of positions that are not seen there may be anything.
  constexpr int kReads = kEach / kAtOnce;
  uint4 key_bits[kReads], value_bits[kReads];
#pragma unroll
  for (int i = 0; i < kReads; ++i) {
    const uint32_t position = warp * kEach + i * kAtOnce + lane / kLanes;
    // What this kernel stores is not there yet.
    const bool sees =
        used && begin + position >= seen.first && begin + position + (kTurns ? 1 : 0) < seen.end;
    key_bits[i] = sees ? *reinterpret_cast<const uint4*>(keys + size_t{position} * size + at) : uint4{};
    value_bits[i] = sees ? *reinterpret_cast<const uint4*>(values + size_t{position} * size + at) : uint4{};
  }
  const Turn turn(a.query, seen.end - 1, kTurns && used ? at : a.query.offset);
  if constexpr (kTurns) wait_for_previous(), let_next_start();
  float q[kHeads][8] = {};
  const float* queries = c.in + size_t{row} * c.in_stride;
  if constexpr (kTurns) {
    const uint32_t last = seen.end - 1;
    float key[8] = {}, value[8] = {};
    if (used) {
#pragma unroll
      for (int h = 0; h < kHeads; ++h)
        turn.of(queries + (kv * together + min(first_head + h, together - 1)) * size, at, q[h]);
      turn.of(a.key.in + kv * size, at, key);
      read_8(a.value + kv * size + at, value);
    }
    const uint4 new_key = to_halves(key), new_value = to_halves(value);
#pragma unroll
    for (int i = 0; i < kReads; ++i) {
      const uint32_t position = warp * kEach + i * kAtOnce + lane / kLanes;
      if (begin + position != last || !used) continue;
      key_bits[i] = new_key, value_bits[i] = new_value;
      if (first_head != 0) continue;  // another block's heads share them
      *reinterpret_cast<uint4*>(const_cast<__half*>(keys) + size_t{position} * size + at) = new_key;
      *reinterpret_cast<uint4*>(const_cast<__half*>(values) + size_t{position} * size + at) = new_value;
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
#pragma unroll
      for (int i = 0; i < 8; ++i) q[h][i] *= c.factor;
    }
  } else if (used) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float* from = queries + (kv * together + min(first_head + h, together - 1)) * size + at;
#pragma unroll
      for (int i = 0; i < 8; ++i) q[h][i] = from[i] * c.factor;
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < kEach; i += kAtOnce) {
    const uint32_t position = warp * kEach + i + lane / kLanes;
    float k[8];
    to_floats(key_bits[i / kAtOnce], k);
    const bool sees = begin + position >= seen.first && begin + position < seen.end;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float s = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j) s += q[h][j] * k[j];
#pragma unroll
      for (int j = kLanes / 2; j > 0; j /= 2) s += __shfl_xor_sync(0xFFFFFFFF, s, j);
      if (lane % kLanes == 0) scores[h][position] = sees ? s : -INFINITY;
    }
  }
  __syncthreads();
  if (warp < kHeads) {  // a warp is a head's softmax
    float s[2], most = -INFINITY;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      s[i] = scores[warp][i * 32 + lane];
      if (c.cap != 0 && s[i] != -INFINITY) s[i] = c.cap * tanhf(s[i] / c.cap);
      most = fmaxf(most, s[i]);
    }
    most = most_of_warp(most);
    float all = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      s[i] = s[i] == -INFINITY ? 0 : __expf(s[i] - most);
      scores[warp][i * 32 + lane] = s[i];
      all += s[i];
    }
    all = sum_of_warp(all);
    if (lane == 0) largest[warp] = most, weight[warp] = all;
  }
  __syncthreads();
  float sum[kHeads][8] = {};
#pragma unroll
  for (uint32_t i = 0; i < kEach; i += kAtOnce) {
    const uint32_t position = warp * kEach + i + lane / kLanes;
    float v[8];
    to_floats(value_bits[i / kAtOnce], v);
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float p = scores[h][position];
#pragma unroll
      for (int j = 0; j < 8; ++j) sum[h][j] += p * v[j];
    }
  }
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
#pragma unroll
      for (int i = kLanes; i < 32; i *= 2) sum[h][j] += __shfl_xor_sync(0xFFFFFFFF, sum[h][j], i);
      if (lane < kLanes) sums[(warp * kHeads + h) * kLanes * 8 + lane * 8 + j] = sum[h][j];
    }
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < kHeads * kLanes * 8; i += blockDim.x) {
    const uint32_t h = i / (kLanes * 8), feature = i % (kLanes * 8);
    if (first_head + h >= together || feature >= size) continue;
    float x = 0;
#pragma unroll
    for (uint32_t w = 0; w < kWarps; ++w) x += sums[w * kHeads * kLanes * 8 + i];
    float* to =
        a.partial + ((size_t{row} * c.heads + kv * together + first_head + h) * a.pages + page) * (size + 2);
    to[feature] = x;
    if (feature == 0) to[size] = weight[h], to[size + 1] = largest[h];
  }
}

// Heads of any size, a warp each: for what the other does not take.
__global__ void plain_attention_kernel(const __grid_constant__ AttentionArguments a) {
  __shared__ uint32_t found;
  const CudaCommand& c = a.command;
  const uint32_t page = blockIdx.x, row = blockIdx.z, head = blockIdx.y, lane = threadIdx.x;
  wait_for_previous();
  let_next_start();
  const Seen seen = seen_by(a, row, &found);
  const uint32_t begin = page * kCudaPage, size = c.head_size;
  if (begin >= seen.end || begin + kCudaPage <= seen.first) return;
  const __half* keys =
      reinterpret_cast<const __half*>(c.pages + a.step.pages[seen.table + page] * c.page_bytes) +
      size_t{head / (c.heads / c.kv_heads)} * kCudaPage * size;
  const __half* values = keys + size_t{c.kv_heads} * kCudaPage * size;
  const float* q = c.in + size_t{row} * c.in_stride + head * size;
  float* to = a.partial + ((size_t{row} * c.heads + head) * a.pages + page) * (size + 2);
  float s[2], most = -INFINITY;
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t position = i * kWarp + lane;
    s[i] = -INFINITY;
    if (begin + position >= seen.first && begin + position < seen.end) {
      float sum = 0;
      for (uint32_t j = 0; j < size; ++j)
        sum += q[j] * c.factor * __half2float(keys[size_t{position} * size + j]);
      s[i] = c.cap != 0 ? c.cap * tanhf(sum / c.cap) : sum;
    }
    most = fmaxf(most, s[i]);
  }
  most = most_of_warp(most);
  for (float& x : s) x = x == -INFINITY ? 0 : __expf(x - most);
  const float all = sum_of_warp(s[0] + s[1]);
  for (uint32_t j = 0; j < (size + kWarp - 1) / kWarp; ++j) {
    const uint32_t i = j * kWarp + lane;
    float sum = 0;
    for (uint32_t position = 0; position < kCudaPage; ++position) {
      const float p = __shfl_sync(0xFFFFFFFF, s[position / kWarp], position % kWarp);
      if (p != 0 && i < size) sum += p * __half2float(values[size_t{position} * size + i]);
    }
    if (i < size) to[i] = sum;
  }
  if (lane == 0) to[size] = all, to[size + 1] = most;
}

// A block is a head of a token: a thread a feature or two.
__global__ void join_kernel(const __grid_constant__ AttentionArguments a) {
  extern __shared__ float factors[];  // of the pages that are seen
  __shared__ uint32_t found;
  __shared__ float inverse;
  const CudaCommand& c = a.command;
  const uint32_t row = blockIdx.y, head = blockIdx.x, size = c.head_size, stride = size + 2,
                 lane = threadIdx.x % kWarp;
  const Seen seen = seen_by(a, row, &found);
  wait_for_previous();
  let_next_start();
  const uint32_t first = seen.first / kCudaPage, pages = (seen.end + kCudaPage - 1) / kCudaPage - first;
  const float* from = a.partial + ((size_t{row} * c.heads + head) * a.pages + first) * stride;
  if (threadIdx.x < kWarp) {
    float most = -INFINITY, all = 0;
    for (uint32_t page = lane; page < pages; page += kWarp) {
      const float own = from[page * stride + size + 1];
      factors[page] = own;
      most = fmaxf(most, own);
    }
    most = most_of_warp(most);
    for (uint32_t page = lane; page < pages; page += kWarp) {
      const float factor = __expf(factors[page] - most);
      factors[page] = factor;
      all += factor * from[page * stride + size];
    }
    all = sum_of_warp(all);
    if (lane == 0) inverse = pages != 0 ? 1 / all : 0;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < (size + kWarp - 1) / kWarp * kWarp; i += blockDim.x) {
    float x = 0;
    if (i < size) {
#pragma unroll 8
      for (uint32_t page = 0; page < pages; ++page) x += factors[page] * from[page * stride + i];
      x *= inverse;
      c.out[size_t{row} * c.out_stride + head * size + i] = x;
    }
    if (a.kind != Kind::none) emit(a.kind, a.prepared, row, (head * size + i) / kGroup, x);
  }
  // What is multiplied a record at a time goes on behind the last head.
  if (a.kind != Kind::none && head + 1 == c.heads) {
    for (uint32_t i = c.heads * size + threadIdx.x; i < a.prepared.groups * kGroup; i += blockDim.x) {
      emit(a.kind, a.prepared, row, i / kGroup, 0);
    }
  }
}

template <int kLanes, int kHeads>
void launch_heads(Stream& stream, AttentionArguments& a, dim3 grid) {
  constexpr size_t kBytes = kWarps * kHeads * kLanes * 8 * sizeof(float);
  stream.launch(a.query.in != nullptr ? attention_kernel<kLanes, kHeads, true>
                                      : attention_kernel<kLanes, kHeads, false>,
                grid, kWarps * kWarp, kBytes, a);
}

template <int kLanes>
void launch_pages(Stream& stream, AttentionArguments& a) {
  const uint32_t together = a.command.heads / a.command.kv_heads;
  uint32_t heads = together % 3 == 0 ? 3 : together == 1 ? 1 : together % 4 == 0 ? 4 : 2;
  if (kWarps * heads * kLanes * 8 * sizeof(float) > stream.shared) heads = 1;
  a.groups = (together + heads - 1) / heads;
  const dim3 grid(a.pages, a.command.kv_heads * a.groups, a.command.rows);
  if (heads == 1) launch_heads<kLanes, 1>(stream, a, grid);
  if (heads == 2) launch_heads<kLanes, 2>(stream, a, grid);
  if (heads == 3) launch_heads<kLanes, 3>(stream, a, grid);
  if (heads == 4) launch_heads<kLanes, 4>(stream, a, grid);
}

bool pages_are_aligned(const CudaCommand& command) {  // and heads of a size that 8 lanes and more share
  return command.head_size % 8 == 0 && command.head_size <= 256 && command.page_bytes % 16 == 0 &&
         reinterpret_cast<uintptr_t>(command.pages) % 16 == 0;
}

uint32_t pages_of(const CudaCommand& command) {
  return (command.longest + kCudaPage - 1) / kCudaPage;
}

}  // namespace

size_t attention_floats(const CudaCommand& command) {
  return size_t{command.rows} * command.heads * pages_of(command) * (command.head_size + 2);
}

bool turns_with_attention(const CudaCommand& command, const CudaCommand& query, const CudaCommand& key,
                          const CudaCommand& store) {
  const auto aligned = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; };
  return command.rows == 1 && pages_are_aligned(command) && query.neox != 0 && key.neox != 0 &&
         query.dims % 16 == 0 && query.offset % 8 == 0 && query.dims == key.dims &&
         query.offset == key.offset && query.weight == key.weight && query.in == command.in &&
         key.in == store.in && key.heads == command.kv_heads && store.pages == command.pages &&
         query.heads == command.heads && aligned(query.weight) && aligned(query.in) && aligned(key.in) &&
         aligned(store.in2);
}

void launch_attention(Stream& stream, const CudaStep& step, const CudaCommand& command, float* partial,
                      Kind kind, const Activations& prepared, const CudaCommand* query,
                      const CudaCommand* key, const CudaCommand* store) {
  AttentionArguments a{command, step, partial, pages_of(command), 0, kind, prepared, {}, {}, nullptr};
  if (query != nullptr) a.query = *query, a.key = *key, a.value = store->in2;
  const uint32_t size = command.head_size;
  if (!pages_are_aligned(command)) {
    stream.launch(plain_attention_kernel, dim3(a.pages, command.heads, command.rows), kWarp, 0, a);
  } else if (size <= 64) {
    launch_pages<8>(stream, a);
  } else if (size <= 128) {
    launch_pages<16>(stream, a);
  } else {
    launch_pages<32>(stream, a);
  }
  stream.launch(join_kernel, dim3(command.heads, command.rows), size <= 64 ? 64 : 128,
                (a.pages + 16) * sizeof(float), a);  // reads of several may go beyond the end
}

}  // namespace cairn::cuda
