// Products with weights in bit planes; see kernels/planes.hpp.
#include "kernels/planes.hpp"

#include <hwy/highway.h>

#include "kernels/dot.hpp"
#include "kernels/targets/exact_product.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {
const DF32 df;
const DI32 di;
using VF = VF32;
using VI = VI32;

constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kVectors = 2;  // of tokens in a tile
constexpr size_t kTile = kVectors * kLanes;
constexpr size_t kSlices = 8;  // bits of a byte: 4 columns each

HWY_INLINE void load_scales(const uint16_t* halves, float* out) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  for (size_t i = 0; i < kPlaneRows; i += hn::Lanes(d)) {
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(halves) + i)), d,
               out + i);
  }
}

// The table's value of a code of `level` bits.
HWY_INLINE int8_t table_value(uint32_t level, const PlaneTable& table, unsigned code) {
  if (level == 7) {
    const unsigned from_middle = code >= 64 ? code - 64 : 63 - code;
    const int8_t value = table.entries[from_middle & 3][from_middle >> 2];
    return code >= 64 ? value : static_cast<int8_t>(-value);
  }
  const unsigned rest = level <= 4 ? 0 : level - 4;
  const unsigned nibble = level == 3 ? 2 * code : code >> rest;
  return table.entries[code & ((1u << rest) - 1)][nibble];
}

template <int Level>
void row_level(const PlaneRows& rows, uint32_t r, const PlaneTable& table, size_t k, float* out) {
  float scales[kPlaneRows];
  load_scales(rows.scales + r / kPlaneRows * kPlaneRows, scales);
  const float scale = scales[r % kPlaneRows];
  const size_t steps = k / kPlaneColumns, first = r / kPlaneRows * steps;
  for (size_t step = 0; step < steps; ++step) {
    const size_t at = (first + step) * kPlaneBytes + r % kPlaneRows * 4;
    for (size_t c = 0; c < 4; ++c) {
      unsigned bytes[Level];
      for (int plane = 0; plane < Level; ++plane)
        bytes[plane] = static_cast<unsigned>(rows.planes[plane][at + c]);
      for (size_t i = 0; i < kSlices; ++i) {
        unsigned code = 0;
        for (int plane = 0; plane < Level; ++plane) code = 2 * code + (bytes[plane] >> i & 1);
        out[step * kPlaneColumns + 4 * i + c] = scale * static_cast<float>(table_value(Level, table, code));
      }
    }
  }
}

// Calls f<level>.
#define CAIRN_FOR_LEVEL(level, f, ...) \
  switch (level) {                     \
    case 1:                            \
      return f<1>(__VA_ARGS__);        \
    case 2:                            \
      return f<2>(__VA_ARGS__);        \
    case 3:                            \
      return f<3>(__VA_ARGS__);        \
    case 4:                            \
      return f<4>(__VA_ARGS__);        \
    case 5:                            \
      return f<5>(__VA_ARGS__);        \
    case 6:                            \
      return f<6>(__VA_ARGS__);        \
    default:                           \
      return f<7>(__VA_ARGS__);        \
  }

void row(const PlaneRows& rows, uint32_t r, const PlaneTable& table, size_t k, float* out) {
  CAIRN_FOR_LEVEL(rows.level, row_level, rows, r, table, k, out)
}

void scales(const PlaneRows& rows, uint32_t tile, float* out) {
  load_scales(rows.scales + tile * kPlaneRows, out);
}

PlaneVector quantize(const float* x, size_t k, int8_t* values, uint8_t* magnitudes) {
  const hn::Rebind<int8_t, DI32> d8;
  VF top = hn::Zero(df), check = top;
  for (size_t i = 0; i < k; i += kLanes) {
    const VF v = hn::LoadU(df, x + i);
    top = hn::Max(top, hn::Abs(v));
    check = hn::Add(check, hn::Mul(v, hn::Zero(df)));  // NaN where anything was no number
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(df, top));
  const float wrong = hn::GetLane(hn::SumOfLanes(df, check));
  const VF inverse = hn::Set(df, largest > 1e-30f ? 127 / largest : 0);
  const VF most = hn::Set(df, 127.0f), least = hn::Set(df, -127.0f);
  VI sum = hn::Zero(di);
  for (size_t i = 0; i < k; i += kLanes) {
    const VF scaled = hn::Min(hn::Max(hn::Mul(hn::LoadU(df, x + i), inverse), least), most);
    const VI whole = hn::NearestInt(scaled);
    sum = hn::Add(sum, whole);
    hn::StoreU(hn::DemoteTo(d8, whole), d8, values + i);
    hn::StoreU(hn::DemoteTo(d8, hn::Abs(whole)), d8, reinterpret_cast<int8_t*>(magnitudes) + i);
  }
  return {values, magnitudes, largest / 127 + wrong, hn::GetLane(hn::SumOfLanes(di, sum))};
}

// Without vectors worth the name: emulated ones, unrolled as below, take a compiler many minutes.
#if !CAIRN_ISA_X86 && !CAIRN_ISA_NEON
#include "kernels/targets/planes_plain.inl"
#else

const DU8 du8;
const DI8 ds8;
[[maybe_unused]] const DU16 du16;
constexpr size_t kParts = kPlaneBytes / kVectorBytes;  // vectors of a plane's 64 bytes
// Steps of 64 bytes that a level's planes are fetched ahead: the fewer planes, the sooner a step is over.
constexpr size_t ahead_of(int level) {
  return level <= 2 ? 64 : level == 3 ? 48 : 32;
}

#include "kernels/targets/planes_unpack.inl"

// acc + Σ over 4 columns of weights · x, weights as Tables gives them for decode.
#if CAIRN_ISA_NEON
constexpr uint8_t kFlip = 0;
#elif CAIRN_HAS_VNNI || !CAIRN_HAS_MADDUBS
constexpr uint8_t kFlip = 0x80;
HWY_INLINE VI dot(VI acc, VU8 w, const int8_t* x, const uint8_t*) {
  return Dot4(acc, w, broadcast4(x));
}
#else
constexpr uint8_t kFlip = 0;
HWY_INLINE VI dot(VI acc, VU8 w, const int8_t* x, const uint8_t* magnitudes) {
  const VI8 factor = broadcast4(x);
  const VU8 magnitude = hn::BitCast(du8, broadcast4(reinterpret_cast<const int8_t*>(magnitudes)));
#if HWY_TARGET == HWY_AVX3
  const VI8 w_signed{
      _mm512_mask_sub_epi8(w.raw, _mm512_movepi8_mask(factor.raw), _mm512_setzero_si512(), w.raw)};
#else
  const VI8 w_signed{_mm256_sign_epi8(w.raw, factor.raw)};
#endif
  return hn::Add(acc, Dot2(Dot2(magnitude, w_signed), hn::Set(DI16(), int16_t{1})));
}
#endif

// CAIRN_DOT(acc, weights, i, values, magnitudes): acc + the product of slice i, of 4 columns. ARM64 has a
// step's activations in two vectors, declared by CAIRN_STEP.
#if CAIRN_ISA_NEON
struct StepValues {
  HWY_INLINE explicit StepValues(const int8_t* values) : x{vld1q_s8(values), vld1q_s8(values + 16)} {}
  template <size_t kSlice>
  HWY_INLINE VI dot(VI acc, VU8 w) const {
    const int8x16_t four = x[kSlice / 4];
#if CAIRN_HAS_SDOT
    return VI{vdotq_laneq_s32(acc.raw, vreinterpretq_s8_u8(w.raw), four, kSlice % 4)};
#else
    const int32x4_t lanes = vdupq_laneq_s32(vreinterpretq_s32_s8(four), kSlice % 4);
    return DotNative(acc, hn::BitCast(ds8, w), VI8{vreinterpretq_s8_s32(lanes)});
#endif
  }
  int8x16_t x[2];
};
#define CAIRN_STEP(values) const StepValues step_values(values);
#define CAIRN_INLINED __attribute__((always_inline))  // or its sums are in memory
#define CAIRN_DOT(acc, w, i, values, magnitudes) step_values.template dot<(i)>(acc, w)
#else
#define CAIRN_STEP(values)
#define CAIRN_INLINED
#define CAIRN_DOT(acc, w, i, values, magnitudes) dot(acc, w, values + 4 * (i), magnitudes + 4 * (i))
#endif

template <int Level>
void gemv_level(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector& x,
                const PlaneRows& next, float* y) {
  constexpr size_t kChains = kParts == 1 ? 4 : 2;  // sums side by side: a dot product waits for the last one
  const Tables<Level> tables(table, kFlip);
  const size_t steps = k / kPlaneColumns, most = ahead_of(Level), ahead = steps < most ? steps : most;
  const VI start = hn::Set(di, kFlip == 0 ? 0 : -128 * x.sum);
  for (size_t tile = 0; tile < rows.tiles; ++tile) {
    const uint8_t* p[Level];
    const uint8_t* fetch[Level];  // where the step `ahead` of the tile's last ones lies
    CAIRN_UNROLL(Level, plane,
                 p[plane] = reinterpret_cast<const uint8_t*>(rows.planes[plane]) + tile * steps * kPlaneBytes;
                 fetch[plane] = tile + 1 < rows.tiles ? p[plane] + steps * kPlaneBytes
                                : plane < next.level  ? reinterpret_cast<const uint8_t*>(next.planes[plane])
                                                      : p[plane]);
    VI acc[kChains][kParts];
    CAIRN_UNROLL(kChains, c, CAIRN_UNROLL(kParts, h, acc[c][h] = c == 0 ? start : hn::Zero(di)));
    const auto run = [&](size_t begin, size_t end, const uint8_t* const* from,
                         size_t offset) HWY_ATTR CAIRN_INLINED {
      for (size_t step = begin; step < end; ++step) {
        const size_t at = step * kPlaneBytes, column = step * kPlaneColumns;
        CAIRN_UNROLL(Level, plane, __builtin_prefetch(from[plane] + at + offset));
        CAIRN_STEP(x.values + column)
        CAIRN_UNROLL(kParts, h, VU8 v[Level];
                     CAIRN_UNROLL(Level, plane, v[plane] = hn::LoadU(du8, p[plane] + at + h * kVectorBytes));
                     unpack<Level>(
                         v, tables, [&](auto i, VU8 w) HWY_ATTR __attribute__((always_inline)) {
                           acc[i % kChains][h] =
                               CAIRN_DOT(acc[i % kChains][h], w, i, x.values + column, x.magnitudes + column);
                         }));
      }
    };
    run(0, steps - ahead, p, ahead * kPlaneBytes);
    run(steps - ahead, steps, fetch, static_cast<size_t>(0) - (steps - ahead) * kPlaneBytes);
    float scales[kPlaneRows];
    load_scales(rows.scales + tile * kPlaneRows, scales);
    CAIRN_UNROLL(kParts, h, VI sum = acc[0][h];
                 CAIRN_UNROLL(kChains - 1, c, sum = hn::Add(sum, acc[c + 1][h]));
                 const VF scale = hn::Mul(hn::LoadU(df, scales + h * kLanes), hn::Set(df, x.scale));
                 hn::StoreU(hn::Mul(hn::ConvertTo(df, sum), scale), df, y + tile * kPlaneRows + h * kLanes));
  }
}

constexpr size_t kMostTokens = 8;  // whose sums are held at a time

// Several tokens: a step's weights are unpacked once, and each token's sums wait in the cache.
template <int Level>
void gemv_batch_level(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector* x,
                      size_t count, const PlaneRows& next, float* y, size_t y_stride) {
  const Tables<Level> tables(table, kFlip);
  const size_t steps = k / kPlaneColumns, most = ahead_of(Level), ahead = steps < most ? steps : most;
  for (size_t tile = 0; tile < rows.tiles; ++tile) {
    const uint8_t* p[Level];
    const uint8_t* fetch[Level];  // where a step of the next tile lies
    CAIRN_UNROLL(Level, plane,
                 p[plane] = reinterpret_cast<const uint8_t*>(rows.planes[plane]) + tile * steps * kPlaneBytes;
                 fetch[plane] = tile + 1 < rows.tiles ? p[plane] + steps * kPlaneBytes
                                : plane < next.level  ? reinterpret_cast<const uint8_t*>(next.planes[plane])
                                                      : p[plane]);
    alignas(64) int32_t sums[kMostTokens][kPlaneRows];
    for (size_t i = 0; i < count; ++i) {
      const VI start = hn::Set(di, kFlip == 0 ? 0 : -128 * x[i].sum);
      CAIRN_UNROLL(kParts, h, hn::Store(start, di, sums[i] + h * kLanes));
    }
    for (size_t step = 0; step < steps; ++step) {
      const size_t at = step * kPlaneBytes, column = step * kPlaneColumns;
      const uint8_t* const* from = step + ahead < steps ? p : fetch;
      const size_t fetched = (step + ahead < steps ? step + ahead : step + ahead - steps) * kPlaneBytes;
      CAIRN_UNROLL(Level, plane, __builtin_prefetch(from[plane] + fetched));
      CAIRN_UNROLL(
          kParts, h, VU8 v[Level]; VU8 w[kSlices];
          CAIRN_UNROLL(Level, plane, v[plane] = hn::LoadU(du8, p[plane] + at + h * kVectorBytes));
          unpack<Level>(
              v,
              tables, [&](auto i, VU8 weights) HWY_ATTR __attribute__((always_inline)) { w[i] = weights; });
          for (size_t token = 0; token < count; ++token) {
            const int8_t* values = x[token].values + column;
            [[maybe_unused]] const uint8_t* magnitudes = x[token].magnitudes + column;
            CAIRN_STEP(values)
            VI even = hn::Load(di, sums[token] + h * kLanes), odd = hn::Zero(di);
            CAIRN_UNROLL(kSlices / 2, i, even = CAIRN_DOT(even, w[2 * i], 2 * i, values, magnitudes);
                         odd = CAIRN_DOT(odd, w[2 * i + 1], 2 * i + 1, values, magnitudes));
            hn::Store(hn::Add(even, odd), di, sums[token] + h * kLanes);
          });
    }
    float scales[kPlaneRows];
    load_scales(rows.scales + tile * kPlaneRows, scales);
    for (size_t token = 0; token < count; ++token) {
      float* out = y + token * y_stride + tile * kPlaneRows;
      CAIRN_UNROLL(kParts, h, const VI sum = hn::Load(di, sums[token] + h * kLanes);
                   const VF scale = hn::Mul(hn::LoadU(df, scales + h * kLanes), hn::Set(df, x[token].scale));
                   hn::StoreU(hn::Mul(hn::ConvertTo(df, sum), scale), df, out + h * kLanes));
    }
  }
}

template <int Level>
void fill_level(const PlaneRows& rows, uint32_t tile, const PlaneTable& table, size_t k, int8_t* panel,
                int32_t* corrections) {
  const Tables<Level> tables(table, 0);
  const size_t steps = k / kPlaneColumns;
  const VU8 ones = hn::Set(du8, uint8_t{1});
  VI sums[kParts];
  CAIRN_UNROLL(kParts, h, sums[h] = hn::Zero(di));
  for (size_t step = 0; step < steps; ++step) {
    const size_t at = (tile * steps + step) * kPlaneBytes;
    int8_t* out = panel + step * kPlaneColumns * kPlaneRows;
    CAIRN_UNROLL(kParts, h, VU8 v[Level];
                 CAIRN_UNROLL(Level, plane,
                              v[plane] = hn::LoadU(du8, reinterpret_cast<const uint8_t*>(rows.planes[plane]) +
                                                            at + h * kVectorBytes));
                 unpack<Level>(
                     v, tables, [&](auto i, VU8 w) HWY_ATTR __attribute__((always_inline)) {
                       const VI8 values = hn::BitCast(ds8, w);
                       hn::StoreU(values, ds8, out + i * kPlaneBytes + h * kVectorBytes);
                       sums[h] = Dot4(sums[h], ones, values);
                     }));
  }
  CAIRN_UNROLL(kParts, h, hn::StoreU(hn::Neg(hn::ShiftLeft<7>(sums[h])), di, corrections + h * kLanes));
}

void gemv(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector& x,
          const PlaneRows& next, float* y) {
  CAIRN_FOR_LEVEL(rows.level, gemv_level, rows, table, k, x, next, y)
}

void gemv_some(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector* x, size_t count,
               const PlaneRows& next, float* y, size_t y_stride) {
  CAIRN_FOR_LEVEL(rows.level, gemv_batch_level, rows, table, k, x, count, next, y, y_stride)
}

void gemv_batch(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector* x, size_t count,
                const PlaneRows& next, float* y, size_t y_stride) {
  for (size_t i = 0; i < count; i += kMostTokens) {
    const size_t some = count - i < kMostTokens ? count - i : kMostTokens;
    if (some == 1) {
      gemv(rows, table, k, x[i], next, y + i * y_stride);
    } else {
      gemv_some(rows, table, k, x + i, some, next, y + i * y_stride, y_stride);
    }
  }
}

void fill(const PlaneRows& rows, uint32_t tile, const PlaneTable& table, size_t k, int8_t* panel,
          int32_t* corrections) {
  CAIRN_FOR_LEVEL(rows.level, fill_level, rows, tile, table, k, panel, corrections)
}

constexpr size_t kBlock = 1024;  // of k: the tile's values stay in the first-level cache

// Rows [first, first + Rows) over [begin, end) of k; between blocks they wait in `sums`.
template <size_t Rows>
HWY_INLINE void micro(const PlanePanel& panel, size_t first, size_t begin, size_t end,
                      const uint8_t* HWY_RESTRICT values, const float* lanes, const float* bias,
                      int32_t* sums, float* out) {
  const int8_t* HWY_RESTRICT w = panel.values + begin * kPlaneRows + first * 4;
  const uint8_t* HWY_RESTRICT a = values + begin * kTile;
  const uint8_t* stop = values + end * kTile;
  int32_t* kept = sums + first * kTile;
  VI acc[Rows][kVectors];
  if (begin == 0) {
    CAIRN_UNROLL(Rows, r, const VI start = kSigned ? hn::Zero(di) : hn::Set(di, panel.corrections[first + r]);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = start));
  } else {
    CAIRN_UNROLL(Rows, r,
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::LoadU(di, kept + r * kTile + v * kLanes)));
  }
  hide(stop);
  do {
    Activations x[kVectors];
    CAIRN_UNROLL(kVectors, v, x[v] = load(a + v * kLanes * 4));
    CAIRN_UNROLL(Rows, r, const VI8 factor = broadcast4(w + 4 * r);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = product(acc[r][v], x[v], factor)));
    a += kTile * 4;
    w += kPlaneBytes;
  } while (a != stop);
  if (end < panel.k) {
    CAIRN_UNROLL(Rows, r,
                 CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], di, kept + r * kTile + v * kLanes)));
    return;
  }
  CAIRN_UNROLL(
      Rows, r, const uint32_t to = panel.destination[first + r]; if (to != UINT32_MAX) {
        const VF scale = hn::Set(df, panel.scales[first + r]);
        const VF add = hn::Set(df, bias == nullptr ? 0.0f : bias[to]);
        CAIRN_UNROLL(kVectors, v, const VF whole = hn::Mul(hn::ConvertTo(df, acc[r][v]), scale);
                     hn::StoreU(hn::MulAdd(whole, hn::LoadU(df, lanes + v * kLanes), add), df,
                                out + to * kTile + v * kLanes));
      });
}

void multiply(const PlanePanel& panel, const uint8_t* values, const float* lanes, const float* bias,
              float* out) {
  constexpr size_t kRows = kManyRegisters ? 8 : 4;
  const size_t k = panel.k, blocks = (k + kBlock - 1) / kBlock,
               step = ((k + blocks - 1) / blocks + 3) / 4 * 4;
  int32_t sums[kPlaneRows * kTile];
  for (size_t begin = 0; begin < k; begin += step) {
    const size_t end = begin + step < k ? begin + step : k;
    for (size_t first = 0; first < kPlaneRows; first += kRows) {
      micro<kRows>(panel, first, begin, end, values, lanes, bias, sums, out);
    }
  }
}

#endif

}  // namespace

static_assert(kTile <= kMostTileTokens);

const PlaneKernels& plane_table() {
  static constexpr PlaneKernels table{kTile, &quantize, &gemv, &gemv_batch, &fill, &multiply, &row, &scales};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
