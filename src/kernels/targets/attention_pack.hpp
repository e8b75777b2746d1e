// What 16-bit attention works on: queries, keys, weights and values as pairs of integers with scales.
#pragma once

#include "kernels/dot.hpp"
#include "kernels/targets/attention_tile.hpp"
#include "kernels/targets/kv_q4.hpp"
#include "kernels/targets/unroll.hpp"

#if CAIRN_ISA_X86
namespace cairn::kernels::CAIRN_TARGET {

constexpr FloatTag df;
constexpr DI32 di;
constexpr DI16 di16;

constexpr float kNorm = 32000;       // of queries and keys: (kNorm + √head_size / 2)² < 2^31
constexpr float kValueNorm = 16000;  // of a column of values
constexpr float kWeightBits = 14;    // weights ≤ 2^14, 64 of them: a norm ≤ 2^17
constexpr float kWeightOne = 16384;  // 2^kWeightBits
constexpr float kLog2E = 1.44269504f;
constexpr float kRound = 12582912;  // 1.5 · 2^23: adding it leaves a float's nearest integer in its low bits
constexpr float kTiny = 1e-30f;

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

// Working memory of some tiles. Pairs are two 16-bit values in 32 bits; a row of a tile is that of one head.
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
    widened = floats(q4_floats(shape.head_size));
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
  int32_t *queries, *keys;           // [tile rows][half][kTile] and [kKeys][half]: elements d and d + half
  int32_t *values, *weights;         // [kKeys / 2][width] and [kKeys / 2][kTile]: keys 2j and 2j + 1
  float* query_scales;               // [tile rows][kTile]
  float *key_scales, *value_scales;  // [kKeys], with the scores' scale; [width]
  float* widened;                    // [q4_floats]: a block of packed rows as floats
  float *scores, *tops;              // [kKeys][kTile] and their maxima, without the queries' scales
  float *keep, *take;                // what earlier sums, and the block's, are worth under the new maximum
  float *maxima, *sums;              // [tile rows][kTile], of scores · log2 e and of weights
};

// body(rows' type, cache, block) with the block as pack_keys and pack_values read it.
template <class Body>
HWY_INLINE void with_block(const KvRows& cache, const KeyBlock& block, size_t n, const Scratch& s,
                           const Body& body) {
  if (!is_packed(cache.format)) {
    with_format(cache.format, [&](auto rows) HWY_ATTR { body(rows, cache, block); });
    return;
  }
  const size_t count = block.stop - block.begin;
  load_q4(cache, block.begin, count, n, s.widened);
  const auto* page = reinterpret_cast<const std::byte*>(s.widened);
  body(FloatRows(), KvRows{KvFormat::f32, &page, 0, 0}, KeyBlock{0, count, block.rows});
}

// One head of one tile, the `index`-th of all.
inline void pack_queries(const float* HWY_RESTRICT queries, size_t n, size_t index, const Scratch& s) {
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
        s.key_scales[key + i] = key + i < count ? scale_of(cache, block.begin + key + i) : 0;
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
    const auto pack_part = [&](auto whole, size_t d) HWY_ATTR {
      const VF low = load_part<Rows>(whole, row, d, n), high = load_part<Rows>(whole, row, d + s.half, n);
      store_pairs(pack(hn::MulAdd(low, inverse, magic), hn::MulAdd(high, inverse, magic)),
                  s.half - d < kLanes ? s.half - d : kLanes, out + d);
    };
    if (2 * s.half == n) {
      for_parts(n / 2, pack_part);
    } else {
      for (size_t d = 0; d < s.half; d += kLanes) pack_part(std::false_type(), d);
    }
  }
  return hn::GetLane(hn::SumOfLanes(df, poison));
}

// Count vectors of the values from element d on: each row is read in its order, twice.
template <class Rows, size_t Count, class Whole>
HWY_INLINE void pack_value_columns(Whole whole, const KvRows& cache, const KeyBlock& block, size_t n,
                                   size_t d, const Scratch& s) {
  const size_t count = block.stop - block.begin;
  const VF magic = hn::Set(df, kRound);
  const auto at = [&](size_t key, size_t i) HWY_ATTR {
    const VF x = load_part<Rows>(whole, row_of<Rows>(cache, block.begin + key, n), d + i * kLanes, n);
    return Rows::kScaled ? hn::Mul(x, hn::Set(df, scale_of(cache, block.begin + key))) : x;
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
  for (; d + 4 * kLanes <= n; d += 4 * kLanes)
    pack_value_columns<Rows, 4>(std::true_type(), cache, block, n, d, s);
  for (; d + kLanes <= n; d += kLanes) pack_value_columns<Rows, 1>(std::true_type(), cache, block, n, d, s);
  if (d < n) pack_value_columns<Rows, 1>(std::false_type(), cache, block, n, d, s);
}

}  // namespace cairn::kernels::CAIRN_TARGET
#endif
