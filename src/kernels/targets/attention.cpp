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

// The three formats of the cache behind one interface: kLanes elements, or one, as floats.
struct HalfRows {
  using Element = hwy::float16_t;
  static HWY_INLINE VF load(const Element* p) { return hn::PromoteTo(df, hn::LoadU(df16, p)); }
};
struct ByteRows {
  using Element = int8_t;
  static HWY_INLINE VF load(const Element* p) {
    return hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(di8, p)));
  }
};
struct FloatRows {
  using Element = float;
  static HWY_INLINE VF load(const Element* p) { return hn::LoadU(df, p); }
};

// What is left of a row after whole vectors, padded with zeros.
template <class Rows>
HWY_INLINE VF load_tail(const typename Rows::Element* p, size_t count) {
  typename Rows::Element lanes[kLanes] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return Rows::load(lanes);
}

// body(elements' index, how many, their floats) for each vector of row `position`.
template <class Rows, class Body>
HWY_INLINE void for_row(const KvRows& cache, size_t position, size_t n, const Body& body) {
  const auto* row = static_cast<const typename Rows::Element*>(cache.rows) + position * n;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes, Rows::load(row + i));
  if (i < n) body(i, n - i, load_tail<Rows>(row + i, n - i));
}

template <class Body>
HWY_INLINE void with_format(KvFormat format, const Body& body) {
  switch (format) {
    case KvFormat::f16:
      body(HalfRows());
      break;
    case KvFormat::i8:
      body(ByteRows());
      break;
    case KvFormat::f32:
      body(FloatRows());
      break;
  }
}

HWY_INLINE float scale_of(const KvRows& cache, size_t position) {
  return cache.format == KvFormat::i8 ? cache.scales[position] : 1.0f;
}

HWY_INLINE void store(VF x, size_t count, float* out) {
  if (count == kLanes) {
    hn::StoreU(x, df, out);
    return;
  }
  float lanes[kLanes];
  hn::StoreU(x, df, lanes);
  for (size_t i = 0; i < count; ++i) out[i] = lanes[i];
}

// Rows [begin, begin + count) of the cache as floats.
void load_rows(const KvRows& cache, size_t begin, size_t count, size_t n, float* HWY_RESTRICT out) {
  with_format(cache.format, [&](auto rows) HWY_ATTR {
    for (size_t r = 0; r < count; ++r) {
      const VF scale = hn::Set(df, scale_of(cache, begin + r));
      for_row<decltype(rows)>(cache, begin + r, n, [&](size_t i, size_t lanes, VF x) HWY_ATTR {
        store(hn::Mul(x, scale), lanes, out + r * n + i);
      });
    }
  });
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
    load_rows(keys, begin, stop - begin, n, key_block);
    load_rows(values, begin, stop - begin, n, value_block);
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

// scores[head][key] = scale · Σ_d keys[begin + key][d] · queries[head][d]
template <class Rows>
HWY_INLINE void score_rows(const AttentionShape& shape, const KvRows& keys, uint32_t begin, size_t count,
                           const float* HWY_RESTRICT queries, float* HWY_RESTRICT scores) {
  const size_t n = shape.head_size;
  for (size_t key = 0; key < count; ++key) {
    const float scale = shape.scale * scale_of(keys, begin + key);
    for (size_t head = 0; head < shape.group; ++head) {
      VF acc = hn::Zero(df);
      for_row<Rows>(keys, begin + key, n, [&](size_t i, size_t lanes, VF x) HWY_ATTR {
        const float* q = queries + head * n + i;
        acc = hn::MulAdd(x, lanes == kLanes ? hn::LoadU(df, q) : load_tail<FloatRows>(q, lanes), acc);
      });
      scores[head * count + key] = hn::GetLane(hn::SumOfLanes(df, acc)) * scale;
    }
  }
}

// out[head][d] = Σ_key weights[head][key] · values[begin + key][d]
template <class Rows>
HWY_INLINE void sum_rows(const AttentionShape& shape, const KvRows& values, uint32_t begin, size_t count,
                         const float* HWY_RESTRICT weights, float* HWY_RESTRICT out) {
  const size_t n = shape.head_size;
  for (size_t i = 0; i < shape.group * n; ++i) out[i] = 0;
  for (size_t key = 0; key < count; ++key) {
    const float scale = scale_of(values, begin + key);
    for_row<Rows>(values, begin + key, n, [&](size_t i, size_t lanes, VF x) HWY_ATTR {
      for (size_t head = 0; head < shape.group; ++head) {
        float* o = out + head * n + i;
        const VF before = lanes == kLanes ? hn::LoadU(df, o) : load_tail<FloatRows>(o, lanes);
        store(hn::MulAdd(x, hn::Set(df, weights[head * count + key] * scale), before), lanes, o);
      }
    });
  }
}

void token(const AttentionShape& shape, const KvRows& keys, const KvRows& values, uint32_t begin,
           uint32_t end, const float* queries, float* out, float* maxima, float* sums, float* scratch) {
  const size_t count = end - begin;
  with_format(keys.format, [&](auto rows) HWY_ATTR {
    score_rows<decltype(rows)>(shape, keys, begin, count, queries, scratch);
  });
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
  }
  with_format(values.format, [&](auto rows) HWY_ATTR {
    sum_rows<decltype(rows)>(shape, values, begin, count, scratch, out);
  });
}

void store_row(KvFormat format, const float* row, size_t n, void* out, float* scale) {
  size_t i = 0;
  if (format == KvFormat::f32) {
    for (; i < n; ++i) static_cast<float*>(out)[i] = row[i];
    return;
  }
  if (format == KvFormat::f16) {
    auto* half = static_cast<hwy::float16_t*>(out);
    for (; i + kLanes <= n; i += kLanes)
      hn::StoreU(hn::DemoteTo(df16, hn::LoadU(df, row + i)), df16, half + i);
    if (i == n) return;
    hwy::float16_t lanes[kLanes];
    hn::StoreU(hn::DemoteTo(df16, load_tail<FloatRows>(row + i, n - i)), df16, lanes);
    for (size_t j = i; j < n; ++j) half[j] = lanes[j - i];
    return;
  }
  float top = 0;
  for (size_t j = 0; j < n; ++j) {
    const float a = row[j] < 0 ? -row[j] : row[j];
    top = a > top ? a : top;
  }
  *scale = top / 127;
  const VF inverse = hn::Set(df, 127 / (top > 1e-30f ? top : 1e-30f));
  auto* bytes = static_cast<int8_t*>(out);
  for (; i < n; i += kLanes) {
    const size_t count = n - i < kLanes ? n - i : kLanes;
    const VF x = count == kLanes ? hn::LoadU(df, row + i) : load_tail<FloatRows>(row + i, count);
    int8_t lanes[kLanes];
    hn::StoreU(hn::DemoteTo(di8, hn::NearestInt(hn::Mul(x, inverse))), di8, lanes);
    for (size_t j = 0; j < count; ++j) bytes[i + j] = lanes[j];
  }
}

void store_tile(KvFormat format, const float* x, size_t n, size_t tokens, void* out, float* scales) {
  constexpr size_t kMost = 1024;  // longest head: it is transposed through the stack
  float row[kMost];
  const size_t bytes = n * (format == KvFormat::f32 ? 4 : format == KvFormat::f16 ? 2 : 1);
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < n; ++i) row[i] = x[i * kTile + t];
    store_row(format, row, n, static_cast<char*>(out) + t * bytes,
              format == KvFormat::i8 ? scales + t : nullptr);
  }
}

}  // namespace

const AttentionKernels& attention_table() {
  static constexpr AttentionKernels table{&tile_scratch, &tile, &token, &store_row, &store_tile};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
