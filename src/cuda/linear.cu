// Products of packed matrices with few tokens. A block takes 16 rows and up to 8 · kTiles tokens; its warps deal
// the columns out among themselves by a rule that knows the matrix alone, and their sums are added in order. So
// a token's bits depend on nothing but itself.
#include "cuda/linear.cuh"

namespace cairn::cuda {
namespace {

// The sums of a group's codes times activations are integers; they come out of mma as floats plus this, since
// that is what the sums begin with (their bits, that is).
constexpr int32_t kMagicBits = 0x4B400000;
constexpr float kMagic = 12582912.0f;

template <class F, int kTiles, int kGroupAt>
__device__ __forceinline__ void add_group(const F& form, const uint2 (&x)[kTiles][4], const uint4* meta,
                                          size_t tile_meta, float (&sums)[kTiles][4]) {
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
    const uint4 m = meta[tile * tile_meta];  // of two tokens: scale, sums
    const float x_scale[2] = {__uint_as_float(m.x), __uint_as_float(m.z)};
    const uint32_t both[2] = {m.y, m.w};
    const uint2 b = x[tile][kGroupAt % 4];
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

template <class F, int kTiles>
__global__ void __launch_bounds__(512) packed_kernel(const __grid_constant__ LinearArguments a) {
  extern __shared__ float space[];
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  const Place place = place_of(a);
  const uint32_t records = (a.k + F::kColumns - 1) / F::kColumns;
  const uint8_t* weights = place.part->weights + size_t{place.tile} * records * F::kRecord;
  F now, next;
  if (warp < records) now.load(weights + size_t{warp} * F::kRecord, lane);  // before the input is there
  wait_for_previous();
  let_next_start();
  const uint32_t first_tile = (a.first_token + blockIdx.y * kTiles * kTileTokens) / kTileTokens;
  const uint32_t rows = a.rows - first_tile * kTileTokens;  // from there on
  const uint4* codes = reinterpret_cast<const uint4*>(a.x.codes) + size_t{first_tile} * a.x.groups * 16 + lane * 2;
  const uint4* meta = reinterpret_cast<const uint4*>(a.x.meta) + size_t{first_tile} * a.x.groups * 4 + lane % 4;
  float sums[kTiles][4] = {};
  for (uint32_t record = warp; record < records; record += warps) {
    if (record + warps < records) next.load(weights + size_t{record + warps} * F::kRecord, lane);
    const auto chunk = [&](auto part) {
      constexpr int kPart = decltype(part)::value;
      const uint32_t group = record * F::kGroups + kPart * 4;
      uint2 x[kTiles][4];
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        uint4 v[2] = {};
        if (tile * kTileTokens + lane / 4 < rows) {
          const uint4* p = codes + (size_t{static_cast<uint32_t>(tile)} * a.x.groups + group) * 16;
          v[0] = p[0], v[1] = p[1];
        }
        x[tile][0] = {v[0].x, v[0].y}, x[tile][1] = {v[0].z, v[0].w};
        x[tile][2] = {v[1].x, v[1].y}, x[tile][3] = {v[1].z, v[1].w};
      }
      const uint4* m = meta + size_t{group} * 4;
      const size_t tile_meta = size_t{a.x.groups} * 4;
      add_group<F, kTiles, kPart * 4>(now, x, m, tile_meta, sums);
      add_group<F, kTiles, kPart * 4 + 1>(now, x, m + 4, tile_meta, sums);
      add_group<F, kTiles, kPart * 4 + 2>(now, x, m + 8, tile_meta, sums);
      add_group<F, kTiles, kPart * 4 + 3>(now, x, m + 12, tile_meta, sums);
    };
    chunk(Constant<0>());
    if constexpr (F::kGroups == 8) chunk(Constant<1>());
    now = next;
  }
  finish<kTiles>(a, place, rows, first_tile * kTileTokens, sums, space);
}

template <class F>
void launch_form(Stream& stream, LinearArguments& a, uint32_t blocks) {
  // About 256 columns a warp.
  const uint32_t threads = kWarp * min(max((a.k + 255) / 256, 1u), 16u);
  launch_tiles(stream, a, blocks, threads, packed_kernel<F, 1>, packed_kernel<F, 2>, packed_kernel<F, 4>);
}

}  // namespace

#define CAIRN_DEFINE(name) CAIRN_DEFINE_EXPANDED(name)  // an argument that is a macro itself
#define CAIRN_DEFINE_EXPANDED(name)                                                                      \
  void launch_##name(Stream& stream, LinearArguments& a, uint32_t blocks) {                     \
    launch_form<FormOf<Encoding::name>::Type>(stream, a, blocks);                               \
  }
#ifdef CAIRN_LINEAR_ENCODING
CAIRN_DEFINE(CAIRN_LINEAR_ENCODING)
#else
CAIRN_FOR_EACH_FORM(CAIRN_DEFINE)
#endif

}  // namespace cairn::cuda
