// Products of packed matrices with few tokens. A block takes 16 rows and up to 8 · kTiles tokens; its warps
// deal the columns out among themselves by a rule that knows the matrix alone, and their sums are added in
// order. So a token's bits depend on nothing but itself.
#include "cuda/gemm.cuh"
#include "cuda/ring.cuh"

namespace cairn::cuda {
namespace {

// The sums of a group's codes times activations are integers; they come out of mma as floats plus this, since
// that is what the sums begin with (their bits, that is).
constexpr int32_t kMagicBits = 0x4B400000;
constexpr float kMagic = 12582912.0f;

// kTokens: of a tile's, two a lane, or the first alone.
template <class F, int kTiles, int kGroupAt, int kTokens = 2>
__device__ __forceinline__ void add_group(const F& form, const uint2 (&codes_x)[kTiles],
                                          const uint4 (&meta)[kTiles], float (&sums)[kTiles][4]) {
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
    const uint4 m = meta[tile];  // of two tokens: scale, sums
    const float x_scale[2] = {__uint_as_float(m.x), __uint_as_float(m.z)};
    const uint32_t both[2] = {m.y, m.w};
    const uint2 b = codes_x[tile];
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
      for (int i = 0; i < 4; i += 3 - kTokens) {
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
        for (int i = 0; i < 4; i += 3 - kTokens) {
          sum[i] += scale[i / 2][sub].x * x_scale[i % 2] * (__int_as_float(c[i]) - kMagic);
          if constexpr (F::kOffset) {
            sum[i] += scale[i / 2][sub].y * (x_scale[i % 2] * static_cast<float>(all[i % 2]));
          }
        }
      }
    }
  }
}

// One token's activations in shared memory: of 128 columns codes [quarter][group][2] words, and [group]
// scale, sums.
constexpr uint32_t kInputBytes = 160;

// One token, see Source.
template <class F>
__global__ void __launch_bounds__(512) single_kernel(const __grid_constant__ LinearArguments a) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float parts[16];
  constexpr uint32_t kFours = F::kGroups / 4;
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t records = (a.k + F::kColumns - 1) / F::kColumns, turns = (records + warps - 1) / warps;
  Ring<F::kRecord> ring(a, shared + warp * Ring<F::kRecord>::kBytes, records, size_t{records} * F::kRecord);
  uint8_t* input = shared + warps * Ring<F::kRecord>::kBytes + warp * turns * kFours * kInputBytes;
  Meeting meeting{
      reinterpret_cast<float*>(shared + warps * (Ring<F::kRecord>::kBytes + turns * kFours * kInputBytes))};
  wait_for_previous();
  let_next_start();
  // All that is read is asked for at once.
  constexpr uint32_t kBatch = 5;
  const uint32_t fours = turns * kFours;
  Four x[kBatch];
  const auto load = [&](uint32_t first) {
#pragma unroll
    for (uint32_t i = 0; i < kBatch; ++i) {
      const uint32_t at = first + i,
                     column = (warp + at / kFours * warps) * F::kColumns + at % kFours * 128 + lane * 4;
      read(a.source, at < fours ? column : a.k, a.k, x[i]);
    }
  };
  load(0);
  const float factor = factor_of(a.source, a.k, parts);
  for (uint32_t first = 0; first < fours; first += kBatch) {
    if (first > 0) load(first);
#pragma unroll
    for (uint32_t i = 0; i < kBatch; ++i) {
      if (first + i >= fours) break;
      finish(a.source, factor, x[i]);
      const Bytes bytes = to_bytes(x[i].x);
      uint8_t* to = input + (first + i) * kInputBytes;
      reinterpret_cast<uint32_t*>(to)[lane % 4 * 8 + lane / 8 * 2 + lane % 8 / 4] = bytes.codes;
      if (lane % 8 == 0)
        reinterpret_cast<uint2*>(to + 128)[lane / 8] = {__float_as_uint(bytes.scale), bytes.sums};
    }
  }
  __syncwarp();
  for (uint32_t block = blockIdx.x; block < a.blocks; block += gridDim.x) {
    float sums[1][4] = {};
    uint32_t turn = 0;
    for (uint32_t record = warp; record < records; record += warps, ++turn) {
      F form;
      form.template load<true>(ring.next(), lane);
      const auto chunk = [&](auto which) {
        constexpr int kPart = decltype(which)::value;
        const uint8_t* from = input + (turn * kFours + kPart) * kInputBytes;
        const uint4* words = reinterpret_cast<const uint4*>(from) + lane % 4 * 2;
        const uint4* scales = reinterpret_cast<const uint4*>(from + 128);
        const uint4 w[2] = {words[0], words[1]}, m[2] = {scales[0], scales[1]};
        const uint2 codes[4][1] = {
            {{w[0].x, w[0].y}}, {{w[0].z, w[0].w}}, {{w[1].x, w[1].y}}, {{w[1].z, w[1].w}}};
        const uint4 meta[4][1] = {{{m[0].x, m[0].y, 0, 0}},
                                  {{m[0].z, m[0].w, 0, 0}},
                                  {{m[1].x, m[1].y, 0, 0}},
                                  {{m[1].z, m[1].w, 0, 0}}};
        add_group<F, 1, kPart * 4, 1>(form, codes[0], meta[0], sums);
        add_group<F, 1, kPart * 4 + 1, 1>(form, codes[1], meta[1], sums);
        add_group<F, 1, kPart * 4 + 2, 1>(form, codes[2], meta[2], sums);
        add_group<F, 1, kPart * 4 + 3, 1>(form, codes[3], meta[3], sums);
      };
      chunk(Constant<0>());
      if constexpr (F::kGroups == 8) chunk(Constant<1>());
    }
    finish_single(place_of(a, block), sums[0], meeting);
  }
  ring.close();
}

template <class F, int kTiles>
__global__ void __launch_bounds__(512) packed_kernel(const __grid_constant__ LinearArguments a) {
  extern __shared__ __align__(16) uint8_t shared[];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t records = (a.k + F::kColumns - 1) / F::kColumns;
  Ring<F::kRecord> ring(a, shared + warp * Ring<F::kRecord>::kBytes, records, size_t{records} * F::kRecord);
  Meeting meeting{reinterpret_cast<float*>(shared + warps * Ring<F::kRecord>::kBytes)};
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = blockIdx.y * kTiles, rows = a.rows - first_tile * kTileTokens;
  const uint4* from =
      reinterpret_cast<const uint4*>(a.x.codes) + size_t{first_tile} * a.x.groups * 16 + lane * 2;
  const uint4* meta_from =
      reinterpret_cast<const uint4*>(a.x.meta) + size_t{first_tile} * a.x.groups * 4 + lane % 4;
  for (uint32_t block = blockIdx.x; block < a.blocks; block += gridDim.x) {
    float sums[kTiles][4] = {};
    for (uint32_t record = warp; record < records; record += warps) {
      F form;
      form.template load<true>(ring.next(), lane);
      const auto pair = [&](auto which) {  // of groups
        constexpr int kFirst = decltype(which)::value;
        uint2 codes[2][kTiles];
        uint4 meta[2][kTiles];
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          const size_t at = size_t{static_cast<uint32_t>(tile)} * a.x.groups + record * F::kGroups + kFirst;
          uint4 v{};
          if (tile * kTileTokens + lane / 4 < rows) v = from[at / 4 * 64 + kFirst % 4 / 2];
          codes[0][tile] = {v.x, v.y}, codes[1][tile] = {v.z, v.w};
          meta[0][tile] = meta[1][tile] = uint4{};
          if (tile * kTileTokens < rows)
            meta[0][tile] = meta_from[at * 4], meta[1][tile] = meta_from[at * 4 + 4];
        }
        add_group<F, kTiles, kFirst>(form, codes[0], meta[0], sums);
        add_group<F, kTiles, kFirst + 1>(form, codes[1], meta[1], sums);
      };
      pair(Constant<0>()), pair(Constant<2>());
      if constexpr (F::kGroups == 8) pair(Constant<4>()), pair(Constant<6>());
    }
    finish_tiles<kTiles>(place_of(a, block), rows, first_tile * kTileTokens, sums, meeting);
  }
  ring.close();
}

template <class F>
void launch_form(Stream& stream, LinearArguments& a) {
  // About 256 columns a warp, and no more warps than shared memory has room for.
  constexpr uint32_t kRing = Ring<F::kRecord>::kBytes;
  const uint32_t records = (a.k + F::kColumns - 1) / F::kColumns;
  const uint32_t warps = min(max((a.k + 255) / 256, 1u), ring_warps(stream, kRing, a.k));
  if (a.source.in != nullptr) {
    const uint32_t turns = (records + warps - 1) / warps;
    return launch_ring(
        stream, single_kernel<F>, a, 1, warps * kWarp,
        warps * (kRing + turns * (F::kGroups / 4) * kInputBytes + 2 * kSingleFloats * sizeof(float)));
  }
  const uint32_t tiles = (a.rows + kTileTokens - 1) / kTileTokens, each = tiles == 1 ? 1 : tiles == 2 ? 2 : 4;
  launch_ring(stream,
              each == 1   ? packed_kernel<F, 1>
              : each == 2 ? packed_kernel<F, 2>
                          : packed_kernel<F, 4>,
              a, (tiles + each - 1) / each, warps * kWarp, warps * (kRing + 2 * kTileFloats * sizeof(float)));
}

}  // namespace

#define CAIRN_DEFINE(name) CAIRN_DEFINE_EXPANDED(name)  // an argument that is a macro itself
#define CAIRN_DEFINE_EXPANDED(name)                                                                   \
  void launch_##name(Stream& stream, LinearArguments& a) {                                            \
    launch_form<FormOf<Encoding::name>::Type>(stream, a);                                             \
  }                                                                                                   \
  void launch_gemm_##name(Stream& stream, const GemmArguments& a, dim3 grid, size_t bytes) {          \
    stream.launch(gemm_kernel<Unpacked<FormOf<Encoding::name>::Type>>, grid, kGemmThreads, bytes, a); \
  }
#ifdef CAIRN_LINEAR_ENCODING
CAIRN_DEFINE(CAIRN_LINEAR_ENCODING)
#else
CAIRN_FOR_EACH_FORM(CAIRN_DEFINE)
#endif

}  // namespace cairn::cuda
