// Attention over the cache of one kv head, decode's part of it, and the cache's rows; see kernels/vector.hpp.
#include "kernels/targets/attention_tile.hpp"
#include "kernels/targets/kv_q4.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;
const hn::Rebind<hwy::float16_t, FloatTag> df16;
const hn::Rebind<int8_t, FloatTag> di8;

// A cache in f32 asks for float throughout: it is there to measure the others against.
void tiles(const AttentionTiles& tiles, float* scratch) {
  const TilesKernel int16 = tiles.keys.format == KvFormat::f32 ? nullptr : int16_tiles();
  (int16 == nullptr ? &attend_float : int16)(tiles, scratch);
}

size_t tiles_scratch(const AttentionShape& shape, size_t count) {
  const size_t floats = float_scratch(shape), integers = int16_scratch(shape, count);
  return floats > integers ? floats : integers;
}

// Lane sums of four vectors.
template <class D>
HWY_INLINE void store_sums(D d, hn::Vec<D> sums, float* HWY_RESTRICT out) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    store_sums(half, hn::Add(hn::LowerHalf(half, sums), hn::UpperHalf(half, sums)), out);
  } else {
    hn::StoreU(sums, d, out);
  }
}
HWY_INLINE void store_sums(VF a, VF b, VF c, VF d, float* HWY_RESTRICT out) {
  const hn::Repartition<uint64_t, FloatTag> pairs;
  const auto ab = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(df, a, b), hn::InterleaveUpper(df, a, b)));
  const auto cd = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(df, c, d), hn::InterleaveUpper(df, c, d)));
  store_sums(df,
             hn::Add(hn::BitCast(df, hn::InterleaveLower(pairs, ab, cd)),
                     hn::BitCast(df, hn::InterleaveUpper(pairs, ab, cd))),
             out);
}

constexpr size_t kKeys = 4;  // that go together

// What the bias that packed keys lack adds to the scores of one page's keys. Turning a query back by the
// page's angles costs once what turning the bias forward costs for each key: with a pair's query (a, b) and
// bias (c, d), b turned by α gives (a·c + b·d) · cos α + (b·c − a·d) · sin α.
struct BiasScores {
  const float* angles = nullptr;   // [key][dims]: cosines and sines within the page, from the first key on
  const float* queries = nullptr;  // [head][dims]: what they are multiplied with
  const float* rest = nullptr;     // [head]: what does not turn
  size_t dims = 0;
};

// scores[head][key] = scale · (Σ_d keys[begin + key][d] · queries[head][d] + bias) for Heads heads, `stride`
// floats apart
template <class Rows, size_t Heads>
HWY_INLINE void score_heads(const AttentionShape& shape, const KvRows& keys, uint32_t begin, size_t count,
                            const float* HWY_RESTRICT queries, const BiasScores& bias, size_t stride,
                            float* HWY_RESTRICT scores) {
  const size_t n = shape.head_size;
  for (size_t key = 0; key < count; key += kKeys) {
    const auto index = [&](size_t i) HWY_ATTR { return key + i < count ? key + i : count - 1; };
    const typename Rows::Element* row[kKeys];
    for (size_t i = 0; i < kKeys; ++i) {
      row[i] = row_of<Rows>(keys, begin + index(i), n);
      if (key + i + kPagePositions < count) fetch_row<Rows>(keys, begin + key + i + kPagePositions, n);
    }
    VF acc[Heads][kKeys];
    CAIRN_UNROLL(Heads, h, CAIRN_UNROLL(kKeys, i, acc[h][i] = hn::Zero(df)));
    for_parts(n, [&](auto whole, size_t at) HWY_ATTR {
      VF q[Heads];
      CAIRN_UNROLL(Heads, h, q[h] = load_part<FloatRows>(whole, queries + h * n, at, n));
      CAIRN_UNROLL(kKeys, i, const VF x = load_part<Rows>(whole, row[i], at, n);
                   CAIRN_UNROLL(Heads, h, acc[h][i] = hn::MulAdd(x, q[h], acc[h][i])));
    });
    if constexpr (std::is_same_v<Rows, FloatRows>) {
      for_parts(bias.dims, [&](auto whole, size_t at) HWY_ATTR {
        VF q[Heads];
        CAIRN_UNROLL(Heads, h,
                     q[h] = load_part<FloatRows>(whole, bias.queries + h * bias.dims, at, bias.dims));
        CAIRN_UNROLL(
            kKeys, i,
            const VF x = load_part<FloatRows>(whole, bias.angles + index(i) * bias.dims, at, bias.dims);
            CAIRN_UNROLL(Heads, h, acc[h][i] = hn::MulAdd(x, q[h], acc[h][i])));
      });
    }
    CAIRN_UNROLL(Heads, h, float sums[kKeys]; store_sums(acc[h][0], acc[h][1], acc[h][2], acc[h][3], sums);
                 const float rest = bias.rest == nullptr ? 0.0f : bias.rest[h];
                 for (size_t i = 0; i < kKeys && key + i < count; ++i) scores[h * stride + key + i] =
                     (sums[i] + rest) * (shape.scale * scale_of(keys, begin + key + i)));
  }
}

// out[head][d] += Σ_key weights[head][key] · values[begin + key][d] for Heads heads and d in `Parts` vectors
// from `at` on; the heads' weights are `stride` floats apart
template <class Rows, size_t Heads, size_t Parts, class Whole>
HWY_INLINE void sum_heads(Whole whole, const KvRows& values, uint32_t begin, size_t count, size_t n,
                          size_t at, const float* HWY_RESTRICT weights, size_t stride,
                          float* HWY_RESTRICT out) {
  VF acc[Heads][Parts];
  CAIRN_UNROLL(
      Heads, h,
      CAIRN_UNROLL(Parts, v, acc[h][v] = load_part<FloatRows>(whole, out + h * n, at + v * kLanes, n)));
  for (size_t key = 0; key < count;) {
    const auto* row = row_of<Rows>(values, begin + key, n);
    const size_t left = kPagePositions - (begin + key) % kPagePositions;  // of the page
    for (const size_t stop = count - key < left ? count : key + left; key < stop; ++key, row += n) {
      if (at == 0 && key + kPagePositions < count) fetch_row<Rows>(values, begin + key + kPagePositions, n);
      VF w[Heads];
      CAIRN_UNROLL(Heads, h, w[h] = hn::Set(df, weights[h * stride + key]));
      CAIRN_UNROLL(Parts, v, const VF x = load_part<Rows>(whole, row, at + v * kLanes, n);
                   CAIRN_UNROLL(Heads, h, acc[h][v] = hn::MulAdd(x, w[h], acc[h][v])));
    }
  }
  CAIRN_UNROLL(Heads, h,
               CAIRN_UNROLL(Parts, v, const size_t from = at + v * kLanes;
                            store(acc[h][v], n - from < kLanes ? n - from : kLanes, out + h * n + from)));
}

template <class Rows, size_t Heads>
HWY_INLINE void sum_rows(const KvRows& values, uint32_t begin, size_t count, size_t n,
                         const float* HWY_RESTRICT weights, size_t stride, float* HWY_RESTRICT out) {
  constexpr size_t kParts = 4;
  size_t at = 0;
  for (; at + kParts * kLanes <= n; at += kParts * kLanes)
    sum_heads<Rows, Heads, kParts>(std::true_type(), values, begin, count, n, at, weights, stride, out);
  for (; at + kLanes <= n; at += kLanes)
    sum_heads<Rows, Heads, 1>(std::true_type(), values, begin, count, n, at, weights, stride, out);
  if (at < n) sum_heads<Rows, Heads, 1>(std::false_type(), values, begin, count, n, at, weights, stride, out);
}

// body(first head, Constant<how many>) for the heads that share the cache's rows, up to three at a time: as
// many as 16 registers take with what goes with them.
template <class Body>
HWY_INLINE void for_heads(size_t group, const Body& body) {
  size_t head = 0;
  for (; head + 3 <= group; head += 3) body(head, std::integral_constant<size_t, 3>());
  if (group - head == 2) body(head, std::integral_constant<size_t, 2>());
  if (group - head == 1) body(head, std::integral_constant<size_t, 1>());
}

// A page of floats, and of each head what a bias takes: the pairs' products, these turned, and a constant.
size_t token_scratch(const AttentionShape& shape, size_t positions) {
  return shape.group * (positions + 2 * shape.head_size + 1) + q4_floats(shape.head_size);
}

// body(rows' type, cache, first row, how many, which of [0, count) the first is) for the rows from `begin`
// on: all at once, or packed ones a page at a time as floats in `widened`, [q4_floats]. Biases are left out.
template <class Body>
HWY_INLINE void for_runs(const KvRows& cache, uint32_t begin, size_t count, size_t n, float* widened,
                         const Body& body) {
  if (!is_packed(cache.format)) {
    with_format(cache.format, [&](auto rows) HWY_ATTR { body(rows, cache, begin, count, 0); });
    return;
  }
  const auto* page = reinterpret_cast<const std::byte*>(widened);
  const KvRows floats{KvFormat::f32, &page, 0, 0};
  for (size_t done = 0; done < count;) {
    const size_t left = kPagePositions - (begin + done) % kPagePositions;
    const size_t run = count - done < left ? count - done : left;
    load_q4_rows(cache, begin + done, run, n, widened);
    body(FloatRows(), floats, 0, run, done);
    done += run;
  }
}

// The parts of queries · bias that RoPE turns, products [head][dims] as cosines and sines take them, and
// those that it does not, rest [head]. query: [n], to work with.
void bias_products(const AttentionShape& shape, const KvBias& bias, const float* queries,
                   float* HWY_RESTRICT query, float* products, float* rest) {
  const size_t n = shape.head_size, pairs = bias.dims / 2;
  for (size_t head = 0; head < shape.group; ++head, queries += n, products += bias.dims) {
    for (size_t i = 0; i < n; ++i) query[i] = queries[i];
    hadamard_head(query, n);  // queries come rotated as keys are
    for (size_t i = 0; i < pairs; ++i) {
      const size_t first = bias.neox ? i : 2 * i, second = bias.neox ? pairs + i : 2 * i + 1;
      const float a = query[first], b = query[second], c = bias.values[first], d = bias.values[second];
      products[i] = a * c + b * d;
      products[pairs + i] = b * c - a * d;
    }
    rest[head] = 0;
    for (size_t i = bias.dims; i < n; ++i) rest[head] += query[i] * bias.values[i];
  }
}

// turned = products, by one page's angles back.
void turn_back(const KvBias& bias, size_t page, size_t heads, const float* HWY_RESTRICT products,
               float* HWY_RESTRICT turned) {
  const size_t pairs = bias.dims / 2;
  const float *cosines = bias.pages + page * bias.dims, *sines = cosines + pairs;
  for (size_t head = 0; head < heads; ++head, products += bias.dims, turned += bias.dims) {
    for (size_t i = 0; i < pairs; ++i) {
      turned[i] = products[i] * cosines[i] + products[pairs + i] * sines[i];
      turned[pairs + i] = products[pairs + i] * cosines[i] - products[i] * sines[i];
    }
  }
}

// A NaN may be passed over: it reaches the sum of weights by itself.
HWY_INLINE float largest(const float* x, size_t count) {
  float top = x[0];
  size_t i = 0;
  if (count >= kLanes) {
    VF tops = hn::LoadU(df, x);
    for (i = kLanes; i + kLanes <= count; i += kLanes) {
      const VF a = hn::LoadU(df, x + i);
      tops = hn::IfThenElse(hn::Gt(a, tops), a, tops);
    }
    float lanes[kLanes];
    hn::StoreU(tops, df, lanes);
    for (const float lane : lanes) top = lane > top ? lane : top;
  }
  for (; i < count; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

void token(const AttentionToken& part, float* scratch) {
  const AttentionShape& shape = part.shape;
  const KvRows &keys = part.keys, &values = part.values;
  const uint32_t begin = part.begin;
  const float* queries = part.queries;
  float* out = part.out;
  const size_t count = part.end - begin, n = shape.head_size;
  float* widened = scratch + shape.group * count;
  float* rest = widened + q4_floats(n);
  float *products = rest + shape.group, *turned = products + shape.group * n;
  const bool biased = is_packed(keys.format) && keys.bias.values != nullptr;
  if (biased) bias_products(shape, keys.bias, queries, widened, products, rest);
  for_runs(keys, begin, count, n, widened,
           [&](auto rows, const KvRows& cache, uint32_t first, size_t run, size_t at) HWY_ATTR {
             const size_t position = begin + at, dims = keys.bias.dims;
             if (biased && dims > 0)
               turn_back(keys.bias, position / kPagePositions, shape.group, products, turned);
             for_heads(shape.group, [&](size_t head, auto heads) HWY_ATTR {
               BiasScores bias;
               if (biased) {
                 bias = {keys.bias.within + position % kPagePositions * dims, turned + head * dims,
                         rest + head, dims};
               }
               score_heads<decltype(rows), decltype(heads)::value>(
                   shape, cache, first, run, queries + head * n, bias, count, scratch + head * count + at);
             });
           });
  for (size_t head = 0; head < shape.group; ++head) {
    float* scores = scratch + head * count;
    if (shape.softcap > 0) {
      for (size_t key = 0; key < count; ++key)
        scores[key] = shape.softcap * hn::GetLane(Tanh(hn::Set(df, scores[key] / shape.softcap)));
    }
    const float top = largest(scores, count);
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
    part.maxima[head] = top;
    part.sums[head] = total + hn::GetLane(hn::SumOfLanes(df, totals));
    if (values.format == KvFormat::i8) {
      for (key = 0; key < count; ++key) scores[key] *= scale_of(values, begin + key);
    }
  }
  for (size_t i = 0; i < shape.group * n; ++i) out[i] = 0;
  for_runs(values, begin, count, n, widened,
           [&](auto rows, const KvRows& cache, uint32_t first, size_t run, size_t at) HWY_ATTR {
             for_heads(shape.group, [&](size_t head, auto heads) HWY_ATTR {
               sum_rows<decltype(rows), decltype(heads)::value>(
                   cache, first, run, n, scratch + head * count + at, count, out + head * n);
             });
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

// Elements [begin, begin + count) of a row of n, from the begin of a group on.
HWY_INLINE void store_packed(KvFormat format, const float* x, size_t count, size_t n, size_t begin, void* row,
                             void* scales) {
  uint8_t *codes = static_cast<uint8_t*>(row) + begin / 2,
          *signs = codes - begin / 2 + (n + 1) / 2 + begin / 8;
  auto* at = static_cast<uint8_t*>(scales) + begin / kQ4Group * 2;
  if (format == KvFormat::q4) store_q4<Q4>(x, count, codes, nullptr, at);
  if (format == KvFormat::q5) store_q4<Q5>(x, count, codes, signs, at);
}

void store_row(KvFormat format, const float* row, size_t n, void* out, void* scales) {
  if (is_packed(format)) return store_packed(format, row, n, n, 0, out, scales);
  float largest = 0;
  if (format == KvFormat::i8) {
    for (size_t i = 0; i < n; ++i) {
      const float a = row[i] < 0 ? -row[i] : row[i];
      largest = a > largest ? a : largest;
    }
    *static_cast<float*>(scales) = largest / 127;
  }
  store_elements(format, row, n, inverse_of(largest), out);
}

void store_fed_back(const float* row, size_t n, const float* feedback, void* out, void* scales) {
  store_q5_fed_back(row, n, feedback, static_cast<uint8_t*>(out), static_cast<uint8_t*>(scales));
}

void store_tile(KvFormat format, const float* x, size_t n, size_t lane, size_t tokens, void* out,
                void* scales) {
  constexpr size_t kPart = 16 * kLanes;  // of a row, whole groups: it is transposed through the stack
  static_assert(kPart % kQ4Group == 0);
  const size_t row_bytes = kv_row_bytes(format, n), scale_bytes = kv_scale_bytes(format, n);
  float largest[kTile] = {};
  if (format == KvFormat::i8) {
    for (size_t v = 0; v < kTile; v += kLanes) largest_lanes(x + v, n, largest + v);
    for (size_t t = 0; t < tokens; ++t) static_cast<float*>(scales)[t] = largest[lane + t] / 127;
  }
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t begin = 0; begin < n; begin += kPart) {
      const size_t count = n - begin < kPart ? n - begin : kPart;
      float row[kPart];
      for (size_t i = 0; i < count; ++i) row[i] = x[(begin + i) * kTile + lane + t];
      char* at = static_cast<char*>(out) + t * row_bytes;
      if (is_packed(format)) {
        store_packed(format, row, count, n, begin, at, static_cast<char*>(scales) + t * scale_bytes);
      } else {
        store_elements(format, row, count, inverse_of(largest[lane + t]), at + kv_row_bytes(format, begin));
      }
    }
  }
}

}  // namespace

const AttentionKernels& attention_table() {
  static constexpr AttentionKernels table{&tiles_scratch, &tiles,          &token_scratch, &token,
                                          &store_row,     &store_fed_back, &store_tile};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
