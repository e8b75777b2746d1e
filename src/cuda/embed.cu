// Rows of a matrix as floats.
#include "cuda/launch.hpp"
#include "cuda/value.cuh"

namespace cairn::cuda {
namespace {

struct EmbedArguments {
  const int32_t* tokens;
  const uint8_t* weights;
  float* out;
  uint32_t out_stride, k, records, matrix_rows;
  float factor;
  const uint8_t* grids;
};

__device__ __forceinline__ uint32_t token_of(const EmbedArguments& a, uint32_t row) {
  const auto token = static_cast<uint32_t>(a.tokens[row]);
  return token < a.matrix_rows ? token : 0;
}

// A warp takes a record of a token's row; four lanes of the tile have it, so each such four take another
// group.
template <class F>
__global__ void embed_packed_kernel(const __grid_constant__ EmbedArguments a) {
  const uint32_t record = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  wait_for_previous();
  let_next_start();
  if (record >= a.records) return;
  const uint32_t token = token_of(a, blockIdx.y), row = token % kTileRows, t = lane % 4;
  F form;
  form.load(a.weights + (size_t{token / kTileRows} * a.records + record) * F::kRecord, row % 8 * 4 + t);
  float* out = a.out + size_t{blockIdx.y} * a.out_stride;
  const auto store = [&](auto group) {
    constexpr int kG = decltype(group)::value;
    if (lane / 4 != kG) return;
    float values[8];
    if (row < 8) {
      values_of<F, kG>(form, 0, values);
    } else {
      values_of<F, kG>(form, 1, values);
    }
    for (int i = 0; i < 8; ++i) {
      const uint32_t column = record * F::kColumns + kG * 32 + i / 4 * 16 + t * 4 + i % 4;
      if (column < a.k) out[column] = values[i] * a.factor;
    }
  };
  store(Constant<0>()), store(Constant<1>()), store(Constant<2>()), store(Constant<3>());
  if constexpr (F::kGroups == 8)
    store(Constant<4>()), store(Constant<5>()), store(Constant<6>()), store(Constant<7>());
}

template <Encoding kOf>
__global__ void embed_kernel(const __grid_constant__ EmbedArguments a) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  wait_for_previous();
  let_next_start();
  if (i >= a.k) return;
  const uint32_t token = token_of(a, blockIdx.y);
  float value;
  if constexpr (kOf == Encoding::f16 || kOf == Encoding::bf16) {
    const uint32_t row = token % kTileRows, lane = row % 8 * 4 + i % 8 / 2;
    const auto* words = reinterpret_cast<const uint16_t*>(a.weights) +
                        ((size_t{token / kTileRows} * a.records + i / 16) * 32 + lane) * 8;
    const uint32_t bits = words[(i % 16 / 8 * 2 + row / 8) * 2 + i % 2];
    value = kOf == Encoding::f16 ? half_bits(bits) : bf16_low(bits);
  } else {
    value = value_of<kOf>(a.weights + size_t{token} * file_bytes(kOf, a.k), i, a.grids);
  }
  a.out[size_t{blockIdx.y} * a.out_stride + i] = value * a.factor;
}

}  // namespace

void launch_embed(Stream& stream, const CudaStep& step, const CudaCommand& command, float factor) {
  EmbedArguments a{step.tokens,         static_cast<const uint8_t*>(command.weight),
                   command.out,         command.out_stride,
                   command.width,       (command.width + 15) / 16,
                   command.matrix_rows, factor,
                   stream.grids};
  const dim3 grid((a.k + 255) / 256, command.rows);
  switch (static_cast<Encoding>(command.encoding)) {
#define CAIRN_CASE(name)                                                                              \
  case Encoding::name: {                                                                              \
    using F = FormOf<Encoding::name>::Type;                                                           \
    a.records = (a.k + F::kColumns - 1) / F::kColumns;                                                \
    return stream.launch(embed_packed_kernel<F>, dim3((a.records + 3) / 4, command.rows), 128, 0, a); \
  }
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return stream.launch(embed_kernel<Encoding::name>, grid, 256, 0, a);
    CAIRN_FOR_EACH_RAW(CAIRN_CASE)
    CAIRN_CASE(f32) CAIRN_CASE(f16) CAIRN_CASE(bf16)
#undef CAIRN_CASE
  }
}

}  // namespace cairn::cuda
