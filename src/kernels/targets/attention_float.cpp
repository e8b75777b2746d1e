// Prefill's attention of a tile in float: for --precision f32, and where integers would be no faster.
#include "kernels/targets/attention_tile.hpp"
#include "kernels/targets/kv_q4.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;

// The block's rows of the cache as floats, rows beyond its end zeros.
void load_rows(const KvRows& cache, const KeyBlock& block, size_t n, float* HWY_RESTRICT out) {
  const size_t count = block.stop - block.begin;
  if (is_packed(cache.format)) load_q4(cache, block.begin, count, n, out);
  with_format(cache.format, [&](auto rows) HWY_ATTR {
    for (size_t r = 0; r < count; ++r) {
      const VF scale = hn::Set(df, scale_of(cache, block.begin + r));
      for_row<decltype(rows)>(cache, block.begin + r, n, [&](size_t i, size_t lanes, VF x) HWY_ATTR {
        store(hn::Mul(x, scale), lanes, out + r * n + i);
      });
    }
  });
  for (size_t i = count * n; i < block.rows * n; ++i) out[i] = 0;
}

// scores[key][lane] = Σ_d keys[key][d] · query[d][lane] for `rows` keys.
HWY_INLINE void score_block(const float* HWY_RESTRICT keys, size_t rows, const float* HWY_RESTRICT query,
                            size_t head_size, float scale, float* HWY_RESTRICT scores) {
  const VF factor = hn::Set(df, scale);
  for (size_t key = 0; key < rows; key += kKeyRows) {
    const float* HWY_RESTRICT row = keys + key * head_size;
    VF acc[kKeyRows][kVectors];
    CAIRN_UNROLL(kKeyRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(df)));
    for (size_t d = 0; d < head_size; ++d) {
      VF q[kVectors];
      CAIRN_UNROLL(kVectors, v, q[v] = hn::LoadU(df, query + d * kTile + v * kLanes));
      CAIRN_UNROLL(kKeyRows, r, const VF k = hn::Set(df, row[r * head_size + d]);
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::MulAdd(k, q[v], acc[r][v])));
    }
    CAIRN_UNROLL(
        kKeyRows, r,
        CAIRN_UNROLL(kVectors, v,
                     hn::StoreU(hn::Mul(acc[r][v], factor), df, scores + (key + r) * kTile + v * kLanes)));
  }
}

// out[d][lane] = out[d][lane] · keep[lane] + Σ_key values[key][d] · weights[key][lane], for Rows values of d.
template <size_t Rows>
HWY_INLINE void accumulate(const float* HWY_RESTRICT values, size_t keys, const float* HWY_RESTRICT weights,
                           size_t head_size, size_t d, const float* HWY_RESTRICT keep,
                           float* HWY_RESTRICT out) {
  VF acc[Rows][kVectors];
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v,
                            acc[r][v] = hn::Mul(hn::LoadU(df, out + (d + r) * kTile + v * kLanes),
                                                hn::LoadU(df, keep + v * kLanes))));
  for (size_t key = 0; key < keys; ++key) {
    VF p[kVectors];
    CAIRN_UNROLL(kVectors, v, p[v] = hn::LoadU(df, weights + key * kTile + v * kLanes));
    CAIRN_UNROLL(Rows, r, const VF x = hn::Set(df, values[key * head_size + d + r]);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::MulAdd(x, p[v], acc[r][v])));
  }
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], df, out + (d + r) * kTile + v * kLanes)));
}

// Scores become weights e^(score − maximum); keep is what earlier blocks' sums are worth under the new
// maximum.
HWY_INLINE void weigh(const AttentionShape& shape, const KeyBlock& block, uint32_t first,
                      float* HWY_RESTRICT scores, float* HWY_RESTRICT maxima, float* HWY_RESTRICT sums,
                      float* HWY_RESTRICT keep) {
  const bool masked = is_masked(block, first, shape.window);
  if (masked || shape.softcap > 0) {
    for (size_t v = 0; v < kTile; v += kLanes) {
      const Mask mask(block, first, shape.window, v);
      for (size_t key = 0; key < block.rows; ++key) {
        float* p = scores + key * kTile + v;
        VF score = hn::LoadU(df, p);
        if (shape.softcap > 0) score = cap_score(score, shape.softcap);
        if (masked) score = mask(key, score);
        hn::StoreU(score, df, p);
      }
    }
  }
  for (size_t v = 0; v < kTile; v += kLanes) {
    const VF before = hn::LoadU(df, maxima + v);
    VF now = before;
    for (size_t key = 0; key < block.rows; ++key) now = hn::Max(now, hn::LoadU(df, scores + key * kTile + v));
    const VF kept = hn::Exp(df, hn::Sub(before, now));
    VF total = hn::Mul(hn::LoadU(df, sums + v), kept);
    for (size_t key = 0; key < block.rows; ++key) {
      const VF s = hn::LoadU(df, scores + key * kTile + v);
      // The floor, e^−200 = 0, also keeps NaN out of a conversion to integers, which C++ does not define.
      VF weight = hn::Exp(df, hn::Max(hn::Set(df, -200.0f), hn::Sub(s, now)));
      // A lane that has seen nothing yet would take e^0 for its masked keys.
      if (masked) weight = hn::IfThenZeroElse(hn::Le(s, hn::Set(df, kMasked)), weight);
      // hn::Exp makes 0 of NaN, so the sum takes it from the score.
      total = hn::MulAdd(s, hn::Zero(df), hn::Add(total, weight));
      hn::StoreU(weight, df, scores + key * kTile + v);
    }
    hn::StoreU(now, df, maxima + v);
    hn::StoreU(total, df, sums + v);
    hn::StoreU(kept, df, keep + v);
  }
}

void attend_tile(const AttentionTiles& tile, float* scratch) {
  const AttentionShape& shape = tile.shape;
  // A query that sees all keys is one at their end.
  const uint32_t first = tile.end != 0 ? tile.end - 1 : tile.first;
  const size_t n = shape.head_size, end = tile.end != 0 ? tile.end : first + tile.tokens;
  float* out = tile.out;
  float* key_rows = scratch;
  float* value_rows = key_rows + kKeys * n;
  float* scores = value_rows + q4_floats(n);
  float* keep = scores + kKeys * kTile;
  float* maxima = keep + kTile;
  float* sums = maxima + shape.group * kTile;
  for (size_t i = 0; i < shape.group * kTile; ++i) {
    maxima[i] = tile.sinks == nullptr ? kMasked : tile.sinks[i / kTile];
    sums[i] = tile.sinks == nullptr ? 0.0f : 1.0f;
  }
  for (size_t i = 0; i < shape.group * n * kTile; ++i) out[i] = 0;

  for (size_t begin = first_block(shape, first); begin < end; begin += kKeys) {
    const KeyBlock block = key_block(begin, end);
    load_rows(tile.keys, block, n, key_rows);  // may use the values' memory
    load_rows(tile.values, block, n, value_rows);
    for (size_t head = 0; head < shape.group; ++head) {
      score_block(key_rows, block.rows, tile.queries + head * n * kTile, n, shape.scale, scores);
      weigh(shape, block, first, scores, maxima + head * kTile, sums + head * kTile, keep);
      float* o = out + head * n * kTile;
      size_t d = 0;
      for (; d + kKeyRows <= n; d += kKeyRows)
        accumulate<kKeyRows>(value_rows, block.rows, scores, n, d, keep, o);
      for (; d < n; ++d) accumulate<1>(value_rows, block.rows, scores, n, d, keep, o);
    }
  }
  normalise(shape, sums, out);
}

}  // namespace

size_t float_scratch(const AttentionShape& shape) {
  return kKeys * shape.head_size + q4_floats(shape.head_size) + kKeys * kTile + (2 * shape.group + 1) * kTile;
}

void attend_float(const AttentionTiles& tiles, float* scratch) {
  for (size_t done = 0; done < tiles.tokens; done += kTile) {
    const size_t at = done / kTile * tiles.stride, left = tiles.tokens - done;
    AttentionTiles tile = tiles;
    tile.first += static_cast<uint32_t>(done);
    tile.tokens = left < kTile ? left : kTile;
    tile.queries += at;
    tile.out += at;
    attend_tile(tile, scratch);
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
