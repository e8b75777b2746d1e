// Attention over the cache of one kv head, decode's part of it, and the cache's rows; see kernels/vector.hpp.
#include "kernels/targets/attention_tile.hpp"
#include "kernels/targets/kv_rows.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;
const hn::Rebind<hwy::float16_t, FloatTag> df16;
const hn::Rebind<int8_t, FloatTag> di8;

// A cache in f32 asks for float throughout: it is there to measure the others against.
void tiles(const AttentionShape& shape, const KvRows& keys, const KvRows& values, uint32_t first,
           size_t tokens, const float* queries, float* out, size_t stride, float* scratch) {
  const TilesKernel int16 = keys.format == KvFormat::f32 ? nullptr : int16_tiles();
  (int16 == nullptr ? &attend_float : int16)(shape, keys, values, first, tokens, queries, out, stride,
                                             scratch);
}

size_t tiles_scratch(const AttentionShape& shape, size_t count) {
  const size_t floats = float_scratch(shape), integers = int16_scratch(shape, count);
  return floats > integers ? floats : integers;
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

// Elements of a row as the cache holds them; inverse: 127 over the row's largest, for i8.
void store_elements(KvFormat format, const float* row, size_t n, float inverse, void* out) {
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
  const VF factor = hn::Set(df, inverse);
  auto* bytes = static_cast<int8_t*>(out);
  for (; i < n; i += kLanes) {
    const size_t count = n - i < kLanes ? n - i : kLanes;
    const VF x = count == kLanes ? hn::LoadU(df, row + i) : load_tail<FloatRows>(row + i, count);
    int8_t lanes[kLanes];
    hn::StoreU(hn::DemoteTo(di8, hn::NearestInt(hn::Mul(x, factor))), di8, lanes);
    for (size_t j = 0; j < count; ++j) bytes[i + j] = lanes[j];
  }
}

// largest[lane] = max |x[·][lane]| of a tile. A NaN is passed over.
HWY_INLINE void largest_lanes(const float* x, size_t n, float* largest) {
  VF top = hn::Zero(df);
  for (size_t i = 0; i < n; ++i) {
    const VF a = hn::Abs(hn::LoadU(df, x + i * kTile));
    top = hn::IfThenElse(hn::Gt(a, top), a, top);
  }
  hn::StoreU(top, df, largest);
}

float inverse_of(float largest) {
  return 127 / (largest > 1e-30f ? largest : 1e-30f);
}

void store_row(KvFormat format, const float* row, size_t n, void* out, float* scale) {
  float largest = 0;
  if (format == KvFormat::i8) {
    for (size_t i = 0; i < n; ++i) {
      const float a = row[i] < 0 ? -row[i] : row[i];
      largest = a > largest ? a : largest;
    }
    *scale = largest / 127;
  }
  store_elements(format, row, n, inverse_of(largest), out);
}

void store_tile(KvFormat format, const float* x, size_t n, size_t tokens, void* out, float* scales) {
  constexpr size_t kPart = 16 * kLanes;  // of a row: it is transposed through the stack
  const size_t bytes = format == KvFormat::f32 ? 4 : format == KvFormat::f16 ? 2 : 1;
  float largest[kTile] = {};
  if (format == KvFormat::i8) {
    for (size_t v = 0; v < kTile; v += kLanes) largest_lanes(x + v, n, largest + v);
    for (size_t t = 0; t < tokens; ++t) scales[t] = largest[t] / 127;
  }
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t begin = 0; begin < n; begin += kPart) {
      const size_t count = n - begin < kPart ? n - begin : kPart;
      float row[kPart];
      for (size_t i = 0; i < count; ++i) row[i] = x[(begin + i) * kTile + t];
      store_elements(format, row, count, inverse_of(largest[t]),
                     static_cast<char*>(out) + (t * n + begin) * bytes);
    }
  }
}

}  // namespace

const AttentionKernels& attention_table() {
  static constexpr AttentionKernels table{&tiles_scratch, &tiles, &token, &store_row, &store_tile};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
