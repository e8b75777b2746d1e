// Attention over the cache of one kv head; see kernels/vector.hpp.
#include "kernels/targets/lanes.hpp"
#include "kernels/targets/unroll.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;
const hn::RebindToSigned<FloatTag> di;
const hn::Rebind<hwy::float16_t, FloatTag> df16;
const hn::Rebind<int8_t, FloatTag> di8;

constexpr size_t kKeys = 64;  // keys a block
constexpr size_t kRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
constexpr float kMasked = -1e30f;

// Conversions of single f16 numbers, for what is left of a row: Highway has none for scalars.
HWY_INLINE float from_half(hwy::float16_t x) {
  hwy::float16_t lanes[kLanes] = {};
  lanes[0] = x;
  return hn::GetLane(hn::PromoteTo(df, hn::LoadU(df16, lanes)));
}
HWY_INLINE hwy::float16_t to_half(float x) {
  hwy::float16_t lanes[kLanes];
  hn::StoreU(hn::DemoteTo(df16, hn::Set(df, x)), df16, lanes);
  return lanes[0];
}

// One row of n elements of the cache as floats.
HWY_INLINE void load_row(const KvRows& cache, size_t position, size_t n, float* HWY_RESTRICT out) {
  size_t i = 0;
  if (cache.scales == nullptr) {
    const auto* row = static_cast<const hwy::float16_t*>(cache.rows) + position * n;
    for (; i + kLanes <= n; i += kLanes) hn::StoreU(hn::PromoteTo(df, hn::LoadU(df16, row + i)), df, out + i);
    for (; i < n; ++i) out[i] = from_half(row[i]);
  } else {
    const auto* row = static_cast<const int8_t*>(cache.rows) + position * n;
    const float scale = cache.scales[position];
    const VF s = hn::Set(df, scale);
    for (; i + kLanes <= n; i += kLanes) {
      const auto wide = hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(di8, row + i)));
      hn::StoreU(hn::Mul(wide, s), df, out + i);
    }
    for (; i < n; ++i) out[i] = static_cast<float>(row[i]) * scale;
  }
}

// scores[key][lane] = Σ_d keys[key][d] · query[d][lane] for kKeys keys.
HWY_INLINE void score_block(const float* HWY_RESTRICT keys, const float* HWY_RESTRICT query, size_t head_size,
                            float scale, float* HWY_RESTRICT scores) {
  const VF factor = hn::Set(df, scale);
  for (size_t key = 0; key < kKeys; key += kRows) {
    const float* HWY_RESTRICT row = keys + key * head_size;
    VF acc[kRows][kVectors];
    CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(df)));
    for (size_t d = 0; d < head_size; ++d) {
      VF q[kVectors];
      CAIRN_UNROLL(kVectors, v, q[v] = hn::LoadU(df, query + d * kTile + v * kLanes));
      CAIRN_UNROLL(kRows, r, const VF k = hn::Set(df, row[r * head_size + d]);
                   CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::MulAdd(k, q[v], acc[r][v])));
    }
    CAIRN_UNROLL(
        kRows, r,
        CAIRN_UNROLL(kVectors, v,
                     hn::StoreU(hn::Mul(acc[r][v], factor), df, scores + (key + r) * kTile + v * kLanes)));
  }
}

// out[d][lane] = out[d][lane] · keep[lane] + Σ_key values[key][d] · weights[key][lane], for Rows values of d.
template <size_t Rows>
HWY_INLINE void accumulate(const float* HWY_RESTRICT values, const float* HWY_RESTRICT weights,
                           size_t head_size, size_t d, const float* HWY_RESTRICT keep,
                           float* HWY_RESTRICT out) {
  VF acc[Rows][kVectors];
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v,
                            acc[r][v] = hn::Mul(hn::LoadU(df, out + (d + r) * kTile + v * kLanes),
                                                hn::LoadU(df, keep + v * kLanes))));
  for (size_t key = 0; key < kKeys; ++key) {
    VF p[kVectors];
    CAIRN_UNROLL(kVectors, v, p[v] = hn::LoadU(df, weights + key * kTile + v * kLanes));
    CAIRN_UNROLL(Rows, r, const VF x = hn::Set(df, values[key * head_size + d + r]);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::MulAdd(x, p[v], acc[r][v])));
  }
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], df, out + (d + r) * kTile + v * kLanes)));
}

size_t tile_scratch(const AttentionShape& shape) {
  return 2 * kKeys * shape.head_size + kKeys * kTile + (2 * shape.group + 1) * kTile;
}

// Scores of keys that a lane may not see become kMasked. first: position of lane 0.
HWY_INLINE void mask_block(float* scores, size_t key_begin, size_t key_end, uint32_t first, uint32_t window) {
  for (size_t v = 0; v < kTile; v += kLanes) {
    const auto position =
        hn::Add(hn::Iota(di, static_cast<int32_t>(v)), hn::Set(di, static_cast<int32_t>(first)));
    for (size_t key = 0; key < kKeys; ++key) {
      const auto at = hn::Set(di, static_cast<int32_t>(key_begin + key));
      auto hidden = hn::Gt(at, position);
      if (window != 0) {
        const auto distance = hn::Sub(position, at);
        hidden = hn::Or(hidden, hn::Gt(distance, hn::Set(di, static_cast<int32_t>(window) - 1)));
      }
      if (key_begin + key >= key_end) hidden = hn::Eq(at, at);
      float* p = scores + key * kTile + v;
      hn::StoreU(hn::IfThenElse(hn::RebindMask(df, hidden), hn::Set(df, kMasked), hn::LoadU(df, p)), df, p);
    }
  }
}

void tile(const AttentionShape& shape, const KvRows& keys, const KvRows& values, uint32_t first,
          size_t tokens, const float* queries, float* out, float* scratch) {
  const size_t n = shape.head_size, end = first + tokens;
  float* key_block = scratch;
  float* value_block = key_block + kKeys * n;
  float* scores = value_block + kKeys * n;
  float* keep = scores + kKeys * kTile;
  float* maxima = keep + kTile;
  float* sums = maxima + shape.group * kTile;
  for (size_t i = 0; i < shape.group * kTile; ++i) maxima[i] = kMasked, sums[i] = 0;
  for (size_t i = 0; i < shape.group * n * kTile; ++i) out[i] = 0;

  const size_t visible = shape.window != 0 && first + 1 > shape.window ? first + 1 - shape.window : 0;
  for (size_t begin = visible / kKeys * kKeys; begin < end; begin += kKeys) {
    const size_t stop = begin + kKeys < end ? begin + kKeys : end;
    for (size_t key = begin; key < stop; ++key) {
      load_row(keys, key, n, key_block + (key - begin) * n);
      load_row(values, key, n, value_block + (key - begin) * n);
    }
    for (size_t i = (stop - begin) * n; i < kKeys * n; ++i) key_block[i] = value_block[i] = 0;
    const bool masked = stop > first + 1 || stop < begin + kKeys ||
                        (shape.window != 0 && begin + shape.window < first + kTile);
    for (size_t head = 0; head < shape.group; ++head) {
      score_block(key_block, queries + head * n * kTile, n, shape.scale, scores);
      if (shape.softcap > 0) {
        for (size_t i = 0; i < kKeys * kTile; i += kLanes) {
          const VF s = hn::Mul(hn::LoadU(df, scores + i), hn::Set(df, 1 / shape.softcap));
          hn::StoreU(hn::Mul(hn::Set(df, shape.softcap), Tanh(s)), df, scores + i);
        }
      }
      if (masked) mask_block(scores, begin, stop, first, shape.window);
      for (size_t v = 0; v < kTile; v += kLanes) {
        float* top = maxima + head * kTile + v;
        float* sum = sums + head * kTile + v;
        const VF before = hn::LoadU(df, top);
        VF now = before;
        for (size_t key = 0; key < kKeys; ++key) now = hn::Max(now, hn::LoadU(df, scores + key * kTile + v));
        const VF kept = hn::Exp(df, hn::Sub(before, now));
        VF total = hn::Mul(hn::LoadU(df, sum), kept);
        for (size_t key = 0; key < kKeys; ++key) {
          const VF s = hn::LoadU(df, scores + key * kTile + v);
          VF weight = hn::Exp(df, hn::Sub(s, now));
          // A lane that has seen nothing yet would take e^0 for its masked keys.
          if (masked) weight = hn::IfThenZeroElse(hn::Le(s, hn::Set(df, kMasked)), weight);
          total = hn::Add(total, weight);
          hn::StoreU(weight, df, scores + key * kTile + v);
        }
        hn::StoreU(now, df, top);
        hn::StoreU(total, df, sum);
        hn::StoreU(kept, df, keep + v);
      }
      float* o = out + head * n * kTile;
      size_t d = 0;
      for (; d + kRows <= n; d += kRows) accumulate<kRows>(value_block, scores, n, d, keep, o);
      for (; d < n; ++d) accumulate<1>(value_block, scores, n, d, keep, o);
    }
  }
  for (size_t head = 0; head < shape.group; ++head) {
    for (size_t v = 0; v < kTile; v += kLanes) {
      const VF inverse = hn::Div(hn::Set(df, 1.0f), hn::LoadU(df, sums + head * kTile + v));
      for (size_t d = 0; d < n; ++d) {
        float* p = out + (head * n + d) * kTile + v;
        hn::StoreU(hn::Mul(hn::LoadU(df, p), inverse), df, p);
      }
    }
  }
}

// Σ row[i] · query[i], the row in the cache's own form; the scale of an int8 row is left to the caller.
HWY_INLINE float row_dot(const KvRows& cache, size_t position, size_t n, const float* HWY_RESTRICT query) {
  VF acc = hn::Zero(df);
  size_t i = 0;
  float tail = 0;
  if (cache.scales == nullptr) {
    const auto* row = static_cast<const hwy::float16_t*>(cache.rows) + position * n;
    for (; i + kLanes <= n; i += kLanes)
      acc = hn::MulAdd(hn::PromoteTo(df, hn::LoadU(df16, row + i)), hn::LoadU(df, query + i), acc);
    for (; i < n; ++i) tail += from_half(row[i]) * query[i];
    return hn::GetLane(hn::SumOfLanes(df, acc)) + tail;
  }
  const auto* row = static_cast<const int8_t*>(cache.rows) + position * n;
  for (; i + kLanes <= n; i += kLanes)
    acc = hn::MulAdd(hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(di8, row + i))), hn::LoadU(df, query + i),
                     acc);
  for (; i < n; ++i) tail += static_cast<float>(row[i]) * query[i];
  return (hn::GetLane(hn::SumOfLanes(df, acc)) + tail) * cache.scales[position];
}

void token(const AttentionShape& shape, const KvRows& keys, const KvRows& values, uint32_t begin,
           uint32_t end, const float* queries, float* out, float* maxima, float* sums, float* scratch) {
  const size_t n = shape.head_size, count = end - begin;
  for (size_t key = 0; key < count; ++key) {
    for (size_t head = 0; head < shape.group; ++head) {
      scratch[head * count + key] = row_dot(keys, begin + key, n, queries + head * n) * shape.scale;
    }
  }
  for (size_t head = 0; head < shape.group; ++head) {
    float* scores = scratch + head * count;
    if (shape.softcap > 0) {
      for (size_t key = 0; key < count; ++key)
        scores[key] = shape.softcap * hn::GetLane(Tanh(hn::Set(df, scores[key] / shape.softcap)));
    }
    float top = scores[0];
    for (size_t key = 1; key < count; ++key) top = scores[key] > top ? scores[key] : top;
    float total = 0;
    size_t key = 0;
    VF totals = hn::Zero(df);
    for (; key + kLanes <= count; key += kLanes) {
      const VF weight = hn::Exp(df, hn::Sub(hn::LoadU(df, scores + key), hn::Set(df, top)));
      totals = hn::Add(totals, weight);
      hn::StoreU(weight, df, scores + key);
    }
    for (; key < count; ++key) {
      scores[key] = hn::GetLane(hn::Exp(df, hn::Set(df, scores[key] - top)));
      total += scores[key];
    }
    maxima[head] = top;
    sums[head] = total + hn::GetLane(hn::SumOfLanes(df, totals));
    for (size_t d = 0; d < n; ++d) out[head * n + d] = 0;
  }
  for (size_t position = 0; position < count; ++position) {
    const size_t at = begin + position;
    const float row_scale = values.scales == nullptr ? 1.0f : values.scales[at];
    const auto* half_row = static_cast<const hwy::float16_t*>(values.rows) + at * n;
    const auto* byte_row = static_cast<const int8_t*>(values.rows) + at * n;
    size_t d = 0;
    for (; d + kLanes <= n; d += kLanes) {
      const VF x = values.scales == nullptr
                       ? hn::PromoteTo(df, hn::LoadU(df16, half_row + d))
                       : hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(di8, byte_row + d)));
      for (size_t head = 0; head < shape.group; ++head) {
        float* o = out + head * n + d;
        const VF weight = hn::Set(df, scratch[head * count + position] * row_scale);
        hn::StoreU(hn::MulAdd(x, weight, hn::LoadU(df, o)), df, o);
      }
    }
    for (; d < n; ++d) {
      const float x = values.scales == nullptr ? from_half(half_row[d]) : static_cast<float>(byte_row[d]);
      for (size_t head = 0; head < shape.group; ++head)
        out[head * n + d] += x * scratch[head * count + position] * row_scale;
    }
  }
}

void store_row(const float* row, size_t n, void* out, float* scale) {
  size_t i = 0;
  if (scale == nullptr) {
    auto* half = static_cast<hwy::float16_t*>(out);
    for (; i + kLanes <= n; i += kLanes)
      hn::StoreU(hn::DemoteTo(df16, hn::LoadU(df, row + i)), df16, half + i);
    for (; i < n; ++i) half[i] = to_half(row[i]);
    return;
  }
  float top = 0;
  for (size_t j = 0; j < n; ++j) {
    const float a = row[j] < 0 ? -row[j] : row[j];
    top = a > top ? a : top;
  }
  *scale = top / 127;
  const float inverse = top > 0 ? 127 / top : 0;
  auto* bytes = static_cast<int8_t*>(out);
  for (; i + kLanes <= n; i += kLanes) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(df, row + i), hn::Set(df, inverse)));
    hn::StoreU(hn::DemoteTo(di8, q), di8, bytes + i);
  }
  for (; i < n; ++i)
    bytes[i] = static_cast<int8_t>(hn::GetLane(hn::NearestInt(hn::Set(df, row[i] * inverse))));
}

void store_tile(const float* x, size_t n, size_t tokens, void* out, float* scales) {
  constexpr size_t kMost = 1024;  // longest head that is transposed through the stack
  float row[kMost];
  const size_t bytes = scales == nullptr ? 2 * n : n;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < n; ++i) row[i] = x[i * kTile + t];
    store_row(row, n, static_cast<char*>(out) + t * bytes, scales == nullptr ? nullptr : scales + t);
  }
}

}  // namespace

const AttentionKernels& attention_table() {
  static constexpr AttentionKernels table{&tile_scratch, &tile, &token, &store_row, &store_tile};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
