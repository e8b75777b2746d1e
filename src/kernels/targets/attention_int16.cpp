// Prefill's attention of a tile in 16-bit integers, summed in 32 bits two products at a time: twice the rate
// of float on one instruction (VPDPWSSD) or two (VPMADDWD, VPADDD).
//
// Nothing overflows, whatever the numbers are, by Cauchy and Schwarz: queries and keys are scaled so that
// each row's norm is kNorm, and a block's weights and each column of its values so that the product of their
// norms is less than 2^31. That leaves a row's usual elements 12 to 13 bits, and errors as those of an f16
// cache.
#include "kernels/targets/attention_pack.hpp"

namespace cairn::kernels::CAIRN_TARGET {
#if CAIRN_ISA_X86
namespace {

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

// A tile's sinks, before any key.
void add_sinks(const float* sinks, size_t group, size_t tile, const Scratch& s) {
  for (size_t i = 0; i < group * kTile; ++i) {
    s.maxima[tile * group * kTile + i] = sinks[i / kTile] * kLog2E;
    s.sums[tile * group * kTile + i] += kWeightOne;
  }
}

void attend_int16(const AttentionTiles& all_tiles, float* memory) {
  const AttentionShape& shape = all_tiles.shape;
  // Queries that see all keys are at their end.
  const bool whole = all_tiles.end != 0;
  const uint32_t first = whole ? all_tiles.end - 1 : all_tiles.first;
  const size_t stride = all_tiles.stride, head_floats = shape.head_size * kTile;
  const size_t tiles = (all_tiles.tokens + kTile - 1) / kTile;
  const size_t end = whole ? all_tiles.end : first + all_tiles.tokens;
  float* out = all_tiles.out;
  const Scratch s(shape, tiles, memory);
  for (size_t tile = 0; tile < tiles; ++tile) {
    for (size_t head = 0; head < shape.group; ++head)
      pack_queries(all_tiles.queries + tile * stride + head * head_floats, shape.head_size,
                   tile * shape.group + head, s);
    if (all_tiles.sinks != nullptr) add_sinks(all_tiles.sinks, shape.group, tile, s);
    for (size_t i = 0; i < shape.group * head_floats; ++i) out[tile * stride + i] = 0;
  }
  for (size_t begin = first_block(shape, first); begin < end; begin += kKeys) {
    const KeyBlock all = key_block(begin, end);
    float poison = 0;
    with_block(all_tiles.keys, all, shape.head_size, s,
               [&](auto rows, const KvRows& cache, const KeyBlock& block)
                   HWY_ATTR { poison = pack_keys<decltype(rows)>(shape, cache, block, s); });
    with_block(all_tiles.values, all, shape.head_size, s,
               [&](auto rows, const KvRows& cache, const KeyBlock& block)
                   HWY_ATTR { pack_values<decltype(rows)>(shape, cache, block, s); });
    for (size_t tile = 0; tile < tiles; ++tile) {
      const uint32_t at = whole ? first : first + static_cast<uint32_t>(tile * kTile);
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
