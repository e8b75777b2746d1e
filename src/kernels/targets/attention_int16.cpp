// Prefill's attention of a tile in 16-bit integers, summed in 32 bits two products at a time: twice the rate
// of float on one instruction (VPDPWSSD) or two (VPMADDWD, VPADDD).
//
// Nothing overflows, whatever the numbers are, by Cauchy and Schwarz: queries and keys are scaled so that
// each row's norm is kNorm, and a block's weights and each column of its values so that the product of their
// norms is less than 2^31. That leaves a row's usual elements 12 to 13 bits, and errors as those of an f16
// cache.
#include "kernels/dot.hpp"
#include "kernels/targets/attention_tile.hpp"
#include "kernels/targets/kv_rows.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
#if CAIRN_HAS_MADDUBS
namespace {

const FloatTag df;
const DI32 di;
const DI16 di16;

constexpr float kNorm = 32000;       // of queries and keys: (kNorm + √head_size / 2)² < 2^31
constexpr float kValueNorm = 16000;  // of a column of values
constexpr float kWeightBits = 14;    // weights ≤ 2^14, 64 of them: a norm ≤ 2^17
constexpr float kLog2E = 1.44269504f;
constexpr float kRound = 12582912;  // 1.5 · 2^23: adding it leaves a float's nearest integer in its low bits
constexpr float kTiny = 1e-30f;

// 2^x in float for x ≤ 120, relative error 2.6e-6 (a minimax polynomial on [−½, ½]); below 2^−100 it stays
// there.
HWY_INLINE VF Exp2(VF x) {
  const VF magic = hn::Set(df, kRound);
  x = hn::Max(x, hn::Set(df, -100.0f));
  const VF shifted = hn::Add(x, magic);
  const VF f = hn::Sub(x, hn::Sub(shifted, magic));
  VF power = hn::Set(df, 0.009570102f);
  power = hn::MulAdd(power, f, hn::Set(df, 0.05591786f));
  power = hn::MulAdd(power, f, hn::Set(df, 0.24024745f));
  power = hn::MulAdd(power, f, hn::Set(df, 0.69312181f));
  power = hn::MulAdd(power, f, hn::Set(df, 0.99999926f));
  return hn::BitCast(df, hn::Add(hn::BitCast(di, power), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// Two integers to which kRound was added, |each| < 2^15, as the halves of a 32-bit lane.
HWY_INLINE VI16 pack(VF low, VF high) {
  return hn::OddEven(hn::BitCast(di16, hn::ShiftLeft<16>(hn::BitCast(di, high))), hn::BitCast(di16, low));
}
HWY_INLINE void store_pairs(VI16 pairs, size_t count, int32_t* out) {
  store(hn::BitCast(df, pairs), count, reinterpret_cast<float*>(out));
}
HWY_INLINE VI16 load_pairs(const int32_t* p) {
  return hn::BitCast(di16, hn::LoadU(di, p));
}
HWY_INLINE VI16 broadcast_pair(const int32_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return hn::BitCast(di16, hn::Set(di, pair));
}
// What turns a vector of this norm into one of norm `target`.
HWY_INLINE VF inverse_scale(VF norm, float target) {
  return hn::Div(hn::Set(df, target), hn::Max(norm, hn::Set(df, kTiny)));
}

// A tile's working memory. Pairs are two 16-bit values in 32 bits.
struct Scratch {
  // With no memory it only counts.
  Scratch(const AttentionShape& shape, size_t tiles, float* memory)
      : half((shape.head_size + 1) / 2),
        width((shape.head_size + kLanes - 1) / kLanes * kLanes),
        base(memory) {
    queries = pairs(tiles * shape.group * half * kTile);
    query_scales = floats(tiles * shape.group * kTile);
    keys = pairs(kKeys * half);
    key_scales = floats(kKeys);
    values = pairs(kKeys / 2 * width);
    value_scales = floats(width);
    scores = floats(kKeys * kTile);
    weights = pairs(kKeys / 2 * kTile);
    tops = floats(kTile);
    keep = floats(kTile);
    take = floats(kTile);
    maxima = floats(tiles * shape.group * kTile);
    sums = floats(tiles * shape.group * kTile);
  }
  // Whole cache lines each, so that no vector crosses one where the memory itself is aligned.
  float* floats(size_t count) {
    float* p = base == nullptr ? nullptr : base + used;
    used += (count + 15) / 16 * 16;
    return p;
  }
  int32_t* pairs(size_t count) { return reinterpret_cast<int32_t*>(floats(count)); }

  size_t half, width;  // pairs in a query or key; padded elements in a row of values
  float* base;
  size_t used = 0;                   // floats
  int32_t *queries, *keys;           // [group][half][kTile] and [kKeys][half]: elements d and d + half
  int32_t *values, *weights;         // [kKeys / 2][width] and [kKeys / 2][kTile]: keys 2j and 2j + 1
  float* query_scales;               // [group][kTile]
  float *key_scales, *value_scales;  // [kKeys], with the scores' scale; [width]
  float *scores, *tops;              // [kKeys][kTile] and their maxima, without the queries' scales
  float *keep, *take;                // what earlier sums, and the block's, are worth under the new maximum
  float *maxima, *sums;              // [group][kTile], of scores · log2 e and of weights
};

// One head of one tile, the `index`-th of all.
void pack_queries(const float* HWY_RESTRICT queries, size_t n, size_t index, const Scratch& s) {
  const VF magic = hn::Set(df, kRound);
  for (size_t v = 0; v < kTile; v += kLanes) {
    const float* HWY_RESTRICT in = queries + v;
    VF squares = hn::Zero(df);
    for (size_t d = 0; d < n; ++d) {
      const VF x = hn::LoadU(df, in + d * kTile);
      squares = hn::MulAdd(x, x, squares);
    }
    const VF norm = hn::Sqrt(squares), inverse = inverse_scale(norm, kNorm);
    const VF scale = hn::Mul(norm, hn::Set(df, 1 / kNorm));
    hn::StoreU(scale, df, s.query_scales + index * kTile + v);
    // Integers have no NaN: a query that is not finite makes its sum of weights NaN instead.
    hn::StoreU(hn::Mul(scale, hn::Zero(df)), df, s.sums + index * kTile + v);
    hn::StoreU(hn::Set(df, kMasked), df, s.maxima + index * kTile + v);
    for (size_t d = 0; d < s.half; ++d) {
      const VF low = hn::LoadU(df, in + d * kTile);
      const VF high = d + s.half < n ? hn::LoadU(df, in + (d + s.half) * kTile) : hn::Zero(df);
      store_pairs(pack(hn::MulAdd(low, inverse, magic), hn::MulAdd(high, inverse, magic)), kLanes,
                  s.queries + (index * s.half + d) * kTile + v);
    }
  }
}

// Returns 0, or NaN if a key is not finite.
template <class Rows>
HWY_INLINE float pack_keys(const AttentionShape& shape, const KvRows& cache, const KeyBlock& block,
                           const Scratch& s) {
  const size_t n = shape.head_size, count = block.stop - block.begin;
  const VF magic = hn::Set(df, kRound);
  float inverses[kKeys];
  for (size_t key = 0; key < count; ++key) {
    VF squares = hn::Zero(df);
    for_row<Rows>(cache, block.begin + key, n,
                  [&](size_t, size_t, VF x) HWY_ATTR { squares = hn::MulAdd(x, x, squares); });
    s.key_scales[key] = hn::GetLane(hn::SumOfLanes(df, squares));
  }
  for (size_t key = count; key < kKeys; ++key) s.key_scales[key] = 0;
  VF poison = hn::Zero(df);
  for (size_t key = 0; key < kKeys; key += kLanes) {
    const VF norm = hn::Sqrt(hn::LoadU(df, s.key_scales + key));
    hn::StoreU(inverse_scale(norm, kNorm), df, inverses + key);
    VF scale = hn::Mul(norm, hn::Set(df, shape.scale / kNorm));
    if constexpr (Rows::kScaled) {
      for (size_t i = 0; i < kLanes; ++i)
        s.key_scales[key + i] = key + i < count ? cache.scales[block.begin + key + i] : 0;
      scale = hn::Mul(scale, hn::LoadU(df, s.key_scales + key));
    }
    poison = hn::MulAdd(scale, hn::Zero(df), poison);
    hn::StoreU(scale, df, s.key_scales + key);
  }
  for (size_t key = 0; key < block.rows; ++key) {
    int32_t* HWY_RESTRICT out = s.keys + key * s.half;
    if (key >= count) {
      for (size_t d = 0; d < s.half; ++d) out[d] = 0;
      continue;
    }
    const auto* row = row_of<Rows>(cache, block.begin + key, n);
    const VF inverse = hn::Set(df, inverses[key]);
    for (size_t d = 0; d < s.half; d += kLanes) {
      const VF low = load_part<Rows>(row, d, n), high = load_part<Rows>(row, d + s.half, n);
      store_pairs(pack(hn::MulAdd(low, inverse, magic), hn::MulAdd(high, inverse, magic)),
                  s.half - d < kLanes ? s.half - d : kLanes, out + d);
    }
  }
  return hn::GetLane(hn::SumOfLanes(df, poison));
}

// Count vectors of the values from element d on: each row is read in its order, twice.
template <class Rows, size_t Count>
HWY_INLINE void pack_value_columns(const KvRows& cache, const KeyBlock& block, size_t n, size_t d,
                                   const Scratch& s) {
  const size_t count = block.stop - block.begin;
  const VF magic = hn::Set(df, kRound);
  const auto at = [&](size_t key, size_t i) HWY_ATTR {
    const VF x = load_part<Rows>(row_of<Rows>(cache, block.begin + key, n), d + i * kLanes, n);
    return Rows::kScaled ? hn::Mul(x, hn::Set(df, cache.scales[block.begin + key])) : x;
  };
  VF squares[Count];
  CAIRN_UNROLL(Count, i, squares[i] = hn::Zero(df));
  for (size_t key = 0; key < count; ++key)
    CAIRN_UNROLL(Count, i, const VF x = at(key, i); squares[i] = hn::MulAdd(x, x, squares[i]));
  VF inverse[Count];
  CAIRN_UNROLL(Count, i, const VF norm = hn::Sqrt(squares[i]); inverse[i] = inverse_scale(norm, kValueNorm);
               hn::StoreU(hn::Mul(norm, hn::Set(df, 1 / kValueNorm)), df, s.value_scales + d + i * kLanes));
  for (size_t key = 0; key < block.rows; key += 2) {
    int32_t* HWY_RESTRICT out = s.values + key / 2 * s.width + d;
    CAIRN_UNROLL(Count, i, const VF low = key < count ? at(key, i) : hn::Zero(df);
                 const VF high = key + 1 < count ? at(key + 1, i) : hn::Zero(df);
                 store_pairs(pack(hn::MulAdd(low, inverse[i], magic), hn::MulAdd(high, inverse[i], magic)),
                             kLanes, out + i * kLanes));
  }
}

template <class Rows>
HWY_INLINE void pack_values(const AttentionShape& shape, const KvRows& cache, const KeyBlock& block,
                            const Scratch& s) {
  const size_t n = shape.head_size;
  size_t d = 0;
  for (; d + 4 * kLanes <= n; d += 4 * kLanes) pack_value_columns<Rows, 4>(cache, block, n, d, s);
  for (; d < n; d += kLanes) pack_value_columns<Rows, 1>(cache, block, n, d, s);
}

// scores[key][lane] = key_scale · Σ_d key[d] · query[d][lane], and the largest of each lane.
HWY_INLINE void score_block(const int32_t* HWY_RESTRICT query, size_t rows, const Scratch& s) {
  const size_t half = s.half;
  VF top[kVectors];
  CAIRN_UNROLL(kVectors, v, top[v] = hn::Set(df, kMasked));
  for (size_t key = 0; key < rows; key += kKeyRows) {
    const int32_t* HWY_RESTRICT row = s.keys + key * half;
    VI32 acc[kKeyRows][kVectors];
    CAIRN_UNROLL(kKeyRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(di)));
    for (size_t d = 0; d < half; ++d) {
      VI16 q[kVectors];
      CAIRN_UNROLL(kVectors, v, q[v] = load_pairs(query + d * kTile + v * kLanes));
      CAIRN_UNROLL(kKeyRows, r, const VI16 k = broadcast_pair(row + r * half + d);
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = DotPairs(acc[r][v], q[v], k)));
    }
    CAIRN_UNROLL(kKeyRows, r, const VF scale = hn::Set(df, s.key_scales[key + r]);
                 CAIRN_UNROLL(kVectors, v, const VF score = hn::Mul(hn::ConvertTo(df, acc[r][v]), scale);
                              top[v] = hn::Max(top[v], score);
                              hn::StoreU(score, df, s.scores + (key + r) * kTile + v * kLanes)));
  }
  CAIRN_UNROLL(kVectors, v, hn::StoreU(top[v], df, s.tops + v * kLanes));
}

// Caps and masks the scores, which takes the queries' scales into them.
void restrict_block(const AttentionShape& shape, const KeyBlock& block, uint32_t first,
                    const float* HWY_RESTRICT query_scales, const Scratch& s) {
  for (size_t v = 0; v < kTile; v += kLanes) {
    const VF scale = hn::LoadU(df, query_scales + v);
    const Mask mask(block, first, shape.window, v);
    VF top = hn::Set(df, kMasked);
    for (size_t key = 0; key < block.rows; ++key) {
      float* p = s.scores + key * kTile + v;
      VF score = hn::Mul(hn::LoadU(df, p), scale);
      if (shape.softcap > 0) score = cap_score(score, shape.softcap);
      score = mask(key, score);
      top = hn::Max(top, score);
      hn::StoreU(score, df, p);
    }
    hn::StoreU(top, df, s.tops + v);
  }
}

// Weights 2^kWeightBits · e^(score − the block's maximum) as integers: relative to the block's own maximum,
// so that a block of small weights keeps its bits. Their sum is that of the integers, which share the
// numerators' rounding. query_scales: null where the scores have them.
HWY_INLINE void weigh(size_t rows, const float* HWY_RESTRICT query_scales, float poison,
                      float* HWY_RESTRICT maxima, float* HWY_RESTRICT sums, const Scratch& s) {
  const VF magic = hn::Set(df, kRound);
  const VI16 ones = hn::Set(di16, int16_t{1});
  for (size_t v = 0; v < kTile; v += kLanes) {
    VF factor = hn::Set(df, kLog2E);
    if (query_scales != nullptr) factor = hn::Mul(factor, hn::LoadU(df, query_scales + v));
    const VF top = hn::Mul(hn::LoadU(df, s.tops + v), factor);
    // A lane that sees nothing of the block has no top: all its weights shall be 0.
    const VF bias = hn::Sub(hn::Set(df, kWeightBits), hn::Max(top, hn::Set(df, -1e20f)));
    VI32 total = hn::Zero(di);
    for (size_t key = 0; key < rows; key += 2) {
      const float* p = s.scores + key * kTile + v;
      const VF low = Exp2(hn::MulAdd(hn::LoadU(df, p), factor, bias));
      const VF high = Exp2(hn::MulAdd(hn::LoadU(df, p + kTile), factor, bias));
      const VI16 pairs = pack(hn::Add(low, magic), hn::Add(high, magic));
      total = DotPairs(total, pairs, ones);
      store_pairs(pairs, kLanes, s.weights + key / 2 * kTile + v);
    }
    const VF before = hn::LoadU(df, maxima + v), now = hn::Max(before, top);
    const VF keep = Exp2(hn::Sub(before, now)), take = Exp2(hn::Sub(top, now));
    const VF sum = hn::Add(hn::ConvertTo(df, total), hn::Set(df, poison));
    hn::StoreU(hn::MulAdd(hn::LoadU(df, sums + v), keep, hn::Mul(sum, take)), df, sums + v);
    hn::StoreU(now, df, maxima + v);
    hn::StoreU(keep, df, s.keep + v);
    hn::StoreU(take, df, s.take + v);
  }
}

// out[d][lane] = out[d][lane] · keep[lane] + take[lane] · value_scale[d] · Σ_key values[key][d] ·
// weights[key][lane], for Rows values of d.
template <size_t Rows>
HWY_INLINE void accumulate(size_t keys, size_t d, const Scratch& s, float* HWY_RESTRICT out) {
  VI32 acc[Rows][kVectors];
  CAIRN_UNROLL(Rows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(di)));
  const int32_t* HWY_RESTRICT values = s.values + d;
  const int32_t* HWY_RESTRICT weights = s.weights;
  for (size_t pair = 0; pair < keys / 2; ++pair) {
    VI16 p[kVectors];
    CAIRN_UNROLL(kVectors, v, p[v] = load_pairs(weights + pair * kTile + v * kLanes));
    CAIRN_UNROLL(Rows, r, const VI16 x = broadcast_pair(values + pair * s.width + r);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = DotPairs(acc[r][v], p[v], x)));
  }
  CAIRN_UNROLL(
      kVectors, v, const VF keep = hn::LoadU(df, s.keep + v * kLanes);
      const VF take = hn::LoadU(df, s.take + v * kLanes); CAIRN_UNROLL(
          Rows, r, float* HWY_RESTRICT o = out + (d + r) * kTile + v * kLanes;
          const VF scale = hn::Mul(take, hn::Set(df, s.value_scales[d + r])); hn::StoreU(
              hn::MulAdd(hn::ConvertTo(df, acc[r][v]), scale, hn::Mul(hn::LoadU(df, o), keep)), df, o)));
}

// One head of one tile, the `index`-th of all, against the packed block.
void attend_block(const AttentionShape& shape, const KeyBlock& block, uint32_t first, size_t index,
                  float poison, const Scratch& s, float* HWY_RESTRICT out) {
  score_block(s.queries + index * s.half * kTile, block.rows, s);
  const float* query_scales = s.query_scales + index * kTile;
  if (shape.softcap > 0 || is_masked(block, first, shape.window)) {
    restrict_block(shape, block, first, query_scales, s);
    query_scales = nullptr;
  }
  weigh(block.rows, query_scales, poison, s.maxima + index * kTile, s.sums + index * kTile, s);
  size_t d = 0;
  for (; d + kKeyRows <= shape.head_size; d += kKeyRows) accumulate<kKeyRows>(block.rows, d, s, out);
  for (; d < shape.head_size; ++d) accumulate<1>(block.rows, d, s, out);
}

void attend_int16(const AttentionShape& shape, const KvRows& keys, const KvRows& values, uint32_t first,
                  size_t tokens, const float* queries, float* out, size_t stride, float* memory) {
  const size_t head_floats = shape.head_size * kTile, tiles = (tokens + kTile - 1) / kTile;
  const size_t end = first + tokens;
  const Scratch s(shape, tiles, memory);
  for (size_t tile = 0; tile < tiles; ++tile) {
    for (size_t head = 0; head < shape.group; ++head)
      pack_queries(queries + tile * stride + head * head_floats, shape.head_size, tile * shape.group + head,
                   s);
    for (size_t i = 0; i < shape.group * head_floats; ++i) out[tile * stride + i] = 0;
  }
  for (size_t begin = first_block(shape, first); begin < end; begin += kKeys) {
    const KeyBlock all = key_block(begin, end);
    float poison = 0;
    with_format(keys.format,
                [&](auto rows) HWY_ATTR { poison = pack_keys<decltype(rows)>(shape, keys, all, s); });
    with_format(values.format,
                [&](auto rows) HWY_ATTR { pack_values<decltype(rows)>(shape, values, all, s); });
    for (size_t tile = 0; tile < tiles; ++tile) {
      const uint32_t at = first + static_cast<uint32_t>(tile * kTile);
      const size_t tile_end = at + kTile < end ? at + kTile : end;
      if (begin >= tile_end || begin + kKeys <= first_block(shape, at)) continue;
      const KeyBlock block = key_block(begin, tile_end);
      for (size_t head = 0; head < shape.group; ++head) {
        attend_block(shape, block, at, tile * shape.group + head, poison, s,
                     out + tile * stride + head * head_floats);
      }
    }
  }
  for (size_t tile = 0; tile < tiles; ++tile)
    normalise(shape, s.sums + tile * shape.group * kTile, out + tile * stride);
}

}  // namespace

size_t int16_scratch(const AttentionShape& shape, size_t tiles) {
  return Scratch(shape, tiles, nullptr).used;
}
TilesKernel int16_tiles() {
  return &attend_int16;
}

#else
size_t int16_scratch(const AttentionShape&, size_t) {
  return 0;
}
TilesKernel int16_tiles() {
  return nullptr;
}
#endif
}  // namespace cairn::kernels::CAIRN_TARGET
