#include "cuda/gemm.cuh"

namespace cairn::cuda {
namespace {

uint32_t row_blocks(const Part& part) {
  const uint32_t tiles = (part.first_row + part.n + 15) / 16 - part.first_row / 16;
  return part.n == 0 ? 0 : (tiles + kGemmTiles - 1) / kGemmTiles;
}

struct Grid {
  uint32_t tokens, rows, splits;
};
// Columns are split where rows and tokens alone would leave processors idle: sums are then added in the
// splits' order by another kernel.
Grid grid_of(const Stream& stream, const LinearArguments& a, uint32_t parts) {
  Grid grid{(a.rows + kGemmTokens - 1) / kGemmTokens, 0, 1};
  for (uint32_t i = 0; i < parts; ++i) grid.rows += row_blocks(a.parts[i]);
  const uint32_t blocks = grid.tokens * grid.rows, room = stream.processors;
  if (blocks == 0) return grid;
  const uint32_t most = a.k / 512 > 0 ? a.k / 512 : 1;
  while (grid.splits < most && grid.splits < 8 && blocks * (grid.splits + 1) <= room) ++grid.splits;
  return grid;
}

struct JoinArguments {
  GemmArguments gemm;
  uint32_t token_blocks, blocks;
};

__global__ void add_splits_kernel(const __grid_constant__ JoinArguments a) {
  wait_for_previous();
  let_next_start();
  uint32_t index = 0;
  while (index + 1 < kMostParts && blockIdx.y >= a.gemm.first_block[index + 1]) ++index;
  const Part& part = a.gemm.parts[index];
  const uint32_t first_row =
      (part.first_row / kTileRows + (blockIdx.y - a.gemm.first_block[index]) * kGemmTiles) * 16;
  const uint32_t token_in = blockIdx.z * 8 + threadIdx.x / 32, token = blockIdx.x * kGemmTokens + token_in;
  if (token >= a.gemm.rows) return;
  const float scale = a.gemm.scales != nullptr ? a.gemm.scales[token] : 1;
  for (uint32_t r = threadIdx.x % 32; r < kGemmRows; r += 32) {
    const uint32_t to = first_row + r - part.first_row;
    if (to >= part.n) continue;
    float sum = 0;
    for (uint32_t split = 0; split < a.gemm.splits; ++split) {
      sum += a.gemm.partial[((size_t{split} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) *
                                kGemmTokens * kGemmRows +
                            token_in * kGemmRows + r];
    }
    sum *= scale;
    if (part.bias != nullptr) sum += part.bias[to];
    part.out[size_t{token} * part.out_stride + to] = sum;
  }
}

}  // namespace

void launch_gemm_halves(Stream& stream, uint32_t encoding, const GemmArguments& a, dim3 grid, size_t bytes) {
  if (encoding == static_cast<uint32_t>(Encoding::f16)) {
    stream.launch(gemm_kernel<Halves<true>>, grid, kGemmThreads, bytes, a);
  } else {
    stream.launch(gemm_kernel<Halves<false>>, grid, kGemmThreads, bytes, a);
  }
}

Kind gemm_kind_of(uint32_t encoding) {
  if (has_form(encoding)) return Kind::rows_packed;
  if (encoding == static_cast<uint32_t>(Encoding::f16)) return Kind::rows_half;
  return encoding == static_cast<uint32_t>(Encoding::bf16) ? Kind::rows_bf16 : Kind::none;
}

size_t gemm_floats(const Stream& stream, const LinearArguments& a, uint32_t parts) {
  const Grid grid = grid_of(stream, a, parts);
  return grid.splits == 1 ? 0 : size_t{grid.splits} * grid.rows * grid.tokens * kGemmTokens * kGemmRows;
}

#define CAIRN_DECLARE(name) \
  void launch_gemm_##name(Stream& stream, const GemmArguments& a, dim3 grid, size_t bytes);
CAIRN_FOR_EACH_FORM(CAIRN_DECLARE)
#undef CAIRN_DECLARE

void launch_gemm(Stream& stream, uint32_t encoding, const LinearArguments& arguments, uint32_t parts,
                 float* partial) {
  const Grid grid = grid_of(stream, arguments, parts);
  GemmArguments a{};
  uint32_t blocks = 0;
  for (uint32_t i = 0; i < kMostParts; ++i) {
    a.parts[i] = arguments.parts[i];
    a.first_block[i] = i < parts ? blocks : UINT32_MAX;
    if (i < parts) blocks += row_blocks(a.parts[i]);
  }
  a.rows = arguments.rows, a.k = arguments.k, a.width = arguments.x.groups * kGroup;
  a.x = reinterpret_cast<const uint16_t*>(arguments.x.codes);
  a.scales = has_scale(gemm_kind_of(encoding)) ? arguments.x.scales : nullptr;
  a.partial = partial, a.splits = grid.splits;
  const dim3 size(grid.tokens, grid.rows, grid.splits);
  const size_t bytes = size_t{kStages} * kStageBytes + 1024;
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name)                        \
  case Encoding::name:                          \
    launch_gemm_##name(stream, a, size, bytes); \
    break;
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
    default:
      launch_gemm_halves(stream, encoding, a, size, bytes);
  }
  if (a.splits > 1) {
    stream.launch(add_splits_kernel, dim3(grid.tokens, grid.rows, kGemmTokens / 8), 256, 0,
                  JoinArguments{a, grid.tokens, blocks});
  }
}

}  // namespace cairn::cuda
