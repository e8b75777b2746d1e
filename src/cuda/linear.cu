// Products of packed matrices with few tokens. A block takes 16 rows and up to 8 · kTiles tokens; its warps deal
// the columns out among themselves by a rule that knows the matrix alone, and their sums are added in order. So
// a token's bits depend on nothing but itself.
#include "cuda/gemm.cuh"
#include "cuda/linear.cuh"

namespace cairn::cuda {
namespace {

// The sums of a group's codes times activations are integers; they come out of mma as floats plus this, since
// that is what the sums begin with (their bits, that is).
constexpr int32_t kMagicBits = 0x4B400000;
constexpr float kMagic = 12582912.0f;

// A record's activations, of kTiles tiles of tokens.
template <class F, int kTiles>
struct Input {
  uint2 codes[kTiles][F::kGroups];
  uint4 meta[kTiles][F::kGroups];

  __device__ __forceinline__ void load(const uint4* from, const uint4* meta_from, uint32_t groups, uint32_t record,
                                       uint32_t rows) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const size_t at = size_t{static_cast<uint32_t>(tile)} * groups + record * F::kGroups;
#pragma unroll
      for (int i = 0; i < F::kGroups; i += 2) {
        uint4 v{};
        if (tile * kTileTokens + threadIdx.x % kWarp / 4 < rows) v = from[(at + i / 4 * 4) * 16 + i % 4 / 2];
        codes[tile][i] = {v.x, v.y}, codes[tile][i + 1] = {v.z, v.w};
      }
#pragma unroll
      for (int i = 0; i < F::kGroups; ++i) meta[tile][i] = meta_from[(at + i) * 4];
    }
  }
};

template <class F, int kTiles, int kGroupAt>
__device__ __forceinline__ void add_group(const F& form, const Input<F, kTiles>& x, float (&sums)[kTiles][4]) {
  uint32_t a[4];
  form.codes(kGroupAt, a);
  float2 scale[2][F::kSubscales];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    scale[half][0] = form.template scale<kGroupAt, 0>(half);
    if constexpr (F::kSubscales == 2) scale[half][1] = form.template scale<kGroupAt, 1>(half);
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const uint4 m = x.meta[tile][kGroupAt];  // of two tokens: scale, sums
    const float x_scale[2] = {__uint_as_float(m.x), __uint_as_float(m.z)};
    const uint32_t both[2] = {m.y, m.w};
    const uint2 b = x.codes[tile][kGroupAt];
    float* sum = sums[tile];
    if constexpr (F::kSubscales == 1) {
      int32_t all[2], c[4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        all[i] = static_cast<int16_t>(both[i] & 0xFFFF) + (static_cast<int32_t>(both[i]) >> 16);
        c[i] = c[i + 2] = kMagicBits - F::kZero * (F::kSigned ? 0 : all[i]);
      }
      mma_bytes<F::kSigned>(c, a, b.x, b.y);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum[i] += scale[i / 2][0].x * x_scale[i % 2] * (__int_as_float(c[i]) - kMagic);
        if constexpr (F::kOffset) {
          sum[i] += scale[i / 2][0].y * (x_scale[i % 2] * static_cast<float>(all[i % 2]));
        }
      }
    } else {
#pragma unroll
      for (int sub = 0; sub < 2; ++sub) {
        int32_t all[2], c[4];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          all[i] = sub == 0 ? static_cast<int16_t>(both[i] & 0xFFFF) : static_cast<int32_t>(both[i]) >> 16;
          c[i] = c[i + 2] = kMagicBits - F::kZero * all[i];
        }
        mma_bytes_half<F::kSigned>(c, a[2 * sub], a[2 * sub + 1], sub == 0 ? b.x : b.y);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sum[i] += scale[i / 2][sub].x * x_scale[i % 2] * (__int_as_float(c[i]) - kMagic);
          if constexpr (F::kOffset) {
            sum[i] += scale[i / 2][sub].y * (x_scale[i % 2] * static_cast<float>(all[i % 2]));
          }
        }
      }
    }
  }
}

// One token, see Source.
template <class F>
__global__ void __launch_bounds__(512) single_kernel(const __grid_constant__ LinearArguments a) {
  extern __shared__ float space[];
  __shared__ float parts[16];
  constexpr int kFours = F::kGroups / 4;
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Place place = place_of(a);
  const uint32_t records = (a.k + F::kColumns - 1) / F::kColumns;
  const uint8_t* weights = place.part->weights + size_t{place.tile} * records * F::kRecord;
  F now, next;
  if (warp < records) now.load(weights + size_t{warp} * F::kRecord, lane);
  if (warp + warps < records) next.load(weights + size_t{warp + warps} * F::kRecord, lane);
  wait_for_previous();
  let_next_start();
  Four x[kFours], then[kFours];
  const auto load = [&](uint32_t record, Four (&to)[kFours]) {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      read(a.source, record * F::kColumns + static_cast<uint32_t>(i) * 128 + lane * 4, a.k, to[i]);
    }
  };
  load(warp, x);
  const float factor = factor_of(a.source, a.k, parts);
  float sums[1][4] = {};
  for (uint32_t record = warp; record < records; record += warps) {
    if (record + warps < records) load(record + warps, then);
    Input<F, 1> input;
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      finish(a.source, factor, x[i]);
      const Bytes bytes = to_bytes(x[i].x);
#pragma unroll
      for (int g = 0; g < 4; ++g) {
        input.codes[0][4 * i + g] = {__shfl_sync(0xFFFFFFFF, bytes.codes, 8 * g + lane % 4),
                                     __shfl_sync(0xFFFFFFFF, bytes.codes, 8 * g + 4 + lane % 4)};
        input.meta[0][4 * i + g] = {__float_as_uint(__shfl_sync(0xFFFFFFFF, bytes.scale, 8 * g)),
                                    __shfl_sync(0xFFFFFFFF, bytes.sums, 8 * g), 0, 0};
      }
    }
    add_group<F, 1, 0>(now, input, sums);
    add_group<F, 1, 1>(now, input, sums);
    add_group<F, 1, 2>(now, input, sums);
    add_group<F, 1, 3>(now, input, sums);
    if constexpr (F::kGroups == 8) {
      add_group<F, 1, 4>(now, input, sums);
      add_group<F, 1, 5>(now, input, sums);
      add_group<F, 1, 6>(now, input, sums);
      add_group<F, 1, 7>(now, input, sums);
    }
    now = next;
#pragma unroll
    for (int i = 0; i < kFours; ++i) x[i] = then[i];
    if (record + 2 * warps < records) next.load(weights + size_t{record + 2 * warps} * F::kRecord, lane);
  }
  finish<1>(a, place, 1, 0, sums, space);
}

template <class F, int kTiles>
__global__ void __launch_bounds__(512) packed_kernel(const __grid_constant__ LinearArguments a) {
  extern __shared__ float space[];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Place place = place_of(a);
  const uint32_t records = (a.k + F::kColumns - 1) / F::kColumns;
  const uint8_t* weights = place.part->weights + size_t{place.tile} * records * F::kRecord;
  // Weights are read before the input is there.
  F now, next;
  if (warp < records) now.load(weights + size_t{warp} * F::kRecord, lane);
  if (warp + warps < records) next.load(weights + size_t{warp + warps} * F::kRecord, lane);
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = (a.first_token + blockIdx.y * kTiles * kTileTokens) / kTileTokens;
  const uint32_t rows = a.rows - first_tile * kTileTokens;  // from there on
  const uint4* codes = reinterpret_cast<const uint4*>(a.x.codes) + size_t{first_tile} * a.x.groups * 16 + lane * 2;
  const uint4* meta = reinterpret_cast<const uint4*>(a.x.meta) + size_t{first_tile} * a.x.groups * 4 + lane % 4;
  float sums[kTiles][4] = {};
  const auto add = [&](const F& form, const Input<F, kTiles>& x) {
    add_group<F, kTiles, 0>(form, x, sums);
    add_group<F, kTiles, 1>(form, x, sums);
    add_group<F, kTiles, 2>(form, x, sums);
    add_group<F, kTiles, 3>(form, x, sums);
    if constexpr (F::kGroups == 8) {
      add_group<F, kTiles, 4>(form, x, sums);
      add_group<F, kTiles, 5>(form, x, sums);
      add_group<F, kTiles, 6>(form, x, sums);
      add_group<F, kTiles, 7>(form, x, sums);
    }
  };
  Input<F, kTiles> x;
  if constexpr (kTiles == 1) {
    Input<F, kTiles> then;
    if (warp < records) x.load(codes, meta, a.x.groups, warp, rows);
    for (uint32_t record = warp; record < records; record += warps) {
      if (record + warps < records) then.load(codes, meta, a.x.groups, record + warps, rows);
      add(now, x);
      now = next, x = then;
      if (record + 2 * warps < records) next.load(weights + size_t{record + 2 * warps} * F::kRecord, lane);
    }
  } else {
    for (uint32_t record = warp; record < records; record += warps) {
      x.load(codes, meta, a.x.groups, record, rows);
      add(now, x);
      now = next;
      if (record + 2 * warps < records) next.load(weights + size_t{record + 2 * warps} * F::kRecord, lane);
    }
  }
  finish<kTiles>(a, place, rows, first_tile * kTileTokens, sums, space);
}

template <class F>
void launch_form(Stream& stream, LinearArguments& a, uint32_t blocks) {
  // About 256 columns a warp.
  const uint32_t threads = kWarp * min(max((a.k + 255) / 256, 1u), 16u);
  if (a.source.in != nullptr) {
    stream.launch(single_kernel<F>, blocks, threads, threads / kWarp * 128 * sizeof(float), a);
    return;
  }
  launch_tiles(stream, a, blocks, threads, packed_kernel<F, 1>, packed_kernel<F, 2>, packed_kernel<F, 4>);
}

}  // namespace

#define CAIRN_DEFINE(name) CAIRN_DEFINE_EXPANDED(name)  // an argument that is a macro itself
#define CAIRN_DEFINE_EXPANDED(name)                                                               \
  void launch_##name(Stream& stream, LinearArguments& a, uint32_t blocks) {                       \
    launch_form<FormOf<Encoding::name>::Type>(stream, a, blocks);                                 \
  }                                                                                               \
  void launch_gemm_##name(Stream& stream, const GemmArguments& a, dim3 grid, size_t bytes) {      \
    stream.launch(gemm_kernel<Unpacked<FormOf<Encoding::name>::Type>>, grid, kGemmThreads, bytes, a); \
  }
#ifdef CAIRN_LINEAR_ENCODING
CAIRN_DEFINE(CAIRN_LINEAR_ENCODING)
#else
CAIRN_FOR_EACH_FORM(CAIRN_DEFINE)
#endif

}  // namespace cairn::cuda
