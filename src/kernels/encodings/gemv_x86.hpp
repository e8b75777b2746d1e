// Decode's matrix-vector product on the blocks as they lie in the file, for any encoding that lanes.hpp
// describes.
//
// For each group of 32 the integer product of codes and activations is exact; it is then scaled and summed in
// float: y = Σ_g scale_g · xscale_g · (Σ code · x − zero · Σ x) + Σ_g offset_g · (xscale_g · Σ x).
// Rows go one after another: hardware prefetchers follow one stream well, but not four at a row's distance
// (measured on Zen 5: 27 GB/s against 9–18). What depends on the activations alone is made once for all rows.
#pragma once

#include "kernels/encodings/activations_x86.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kRowsTogether = 4;  // rows whose lanes are summed at once
constexpr size_t kSlice = 16384;  // columns whose prepared activations are held at a time
// Ahead of the block at hand; crosses the page ends where hardware stops.
constexpr size_t kPrefetchBytes = 4096;

// The sums of four vectors' lanes, into y[0 … count).
HWY_INLINE void StoreSums(const float* HWY_RESTRICT lanes, size_t count, bool add, float* HWY_RESTRICT y) {
  const DF32 df;
  const hn::Repartition<double, DF32> d64;
  constexpr size_t kLanes = kVectorBytes / 4;
  const auto pairs = [&](size_t row) CAIRN_LAMBDA {
    const VF32 a = hn::Load(df, lanes + row * kLanes), b = hn::Load(df, lanes + (row + 1) * kLanes);
    return hn::BitCast(d64, hn::Add(hn::InterleaveLower(df, a, b), hn::InterleaveUpper(df, a, b)));
  };
  const auto ab = pairs(0), cd = pairs(2);
  const VF32 all = hn::Add(hn::BitCast(df, hn::InterleaveLower(d64, ab, cd)),
                           hn::BitCast(df, hn::InterleaveUpper(d64, ab, cd)));
#if HWY_TARGET == HWY_AVX3
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all.raw), _mm512_extractf32x8_ps(all.raw, 1));
#else
  const __m256 half = all.raw;
#endif
  alignas(16) float sums[kRowsTogether];
  _mm_store_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  for (size_t r = 0; r < count; ++r) y[r] = add ? y[r] + sums[r] : sums[r];
}

// A row's sums in two vectors, so that two chains of additions run at once.
struct RowSums {
  VF32 even, odd;
};

// A chunk of a row: what every token's product with it shares.
template <class E, int kCount, bool kWords>
struct WeightChunk {
  using P = Products<E>;
  static constexpr int kScales = kWholeChunk<E> * E::kSubscales;
  static constexpr int kCodes = kWords ? P::kAllCodes : P::template kCodes<kCount>;
  static constexpr int kLanes = static_cast<int>(kVectorBytes) / 4;

  HWY_INLINE explicit WeightChunk(const uint8_t* HWY_RESTRICT p) {
    alignas(64) float scales[kScales], offsets[kScales];
    Unroll<0, (kCount + kChunkGroups - 1) / kChunkGroups>([&](auto i) CAIRN_LAMBDA {
      constexpr int kFirst = decltype(i)::value * kChunkGroups, kRest = kCount - kFirst;
      E::template Scales<(kRest < kChunkGroups ? kRest : kChunkGroups)>(p + kFirst / E::kGroups * E::kBytes,
                                                                        scales + kFirst * E::kSubscales,
                                                                        offsets + kFirst * E::kSubscales);
    });
    Unroll<0, P::kSums>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      const VF32 in_order = Whole(scales + kIndex * kLanes);
      scale[kIndex] = InLaneOrder<kIndex>(in_order);
      if constexpr (E::kHasOffset) {
        offset[kIndex] = Whole(offsets + kIndex * kLanes);
        if constexpr (P::kMissing != 0)
          offset[kIndex] = hn::MulAdd(in_order, hn::Set(DF32(), P::kMissing), offset[kIndex]);
      }
    });
    Unroll<0, kCodes>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      if constexpr (kIndex < P::template kCodes<kCount>) {
        codes[kIndex] = P::template Codes<kIndex, kCount>(p);
      } else {
        codes[kIndex] = hn::Zero(DU8());
      }
    });
    if constexpr (kWords) P::InWords(codes);
  }

  // Eight floats at a time, as Scales has written them: a longer load would wait for both stores.
  static HWY_INLINE VF32 Whole(const float* from) {
#if HWY_TARGET == HWY_AVX3
    const __m512 low = _mm512_zextps256_ps512(_mm256_load_ps(from));
    if constexpr (kCount * E::kSubscales <= 8) return VF32{low};
    return VF32{_mm512_insertf32x8(low, _mm256_load_ps(from + 8), 1)};
#else
    return hn::Load(DF32(), from);
#endif
  }

  // Vector kIndex of the scales in the order of the sums' lanes; those that have none get one that is 0.
  template <int kIndex>
  static HWY_INLINE VF32 InLaneOrder(VF32 v) {
    struct Order {
      alignas(64) int32_t lanes[kLanes];
      bool moved = false;
      constexpr Order() : lanes() {
        for (int i = 0; i < kLanes; ++i) {
          const int at = P::template ScaleOf<kCount>(kIndex * kLanes + i);
          lanes[i] = at < 0 ? kLanes - 1 : at - kIndex * kLanes;
          moved = moved || lanes[i] != i;
        }
      }
    };
    static constexpr Order kOrder;
    if constexpr (!kOrder.moved) return v;
#if HWY_TARGET == HWY_AVX3
    return VF32{_mm512_permutexvar_ps(_mm512_load_si512(kOrder.lanes), v.raw)};
#else
    return VF32{
        _mm256_permutevar8x32_ps(v.raw, _mm256_load_si256(reinterpret_cast<const __m256i*>(kOrder.lanes)))};
#endif
  }

  // sums + the product with a token's activations; its kPart says which of the two sums begins.
  template <int kPart>
  HWY_INLINE void Add(RowSums& sums, const InputChunk<E>& x) const {
    const DF32 df;
    const auto vectors = [&](auto i) CAIRN_LAMBDA { return codes[decltype(i)::value]; };
    Unroll<0, P::kSums>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      if constexpr (E::kHasOffset) {
        VF32& sum = kIndex % 2 == 0 ? sums.odd : sums.even;
        sum = hn::MulAdd(offset[kIndex], hn::Load(df, x.sums + kIndex * kLanes), sum);
      }
      const auto dots =
          P::template Sums<kIndex, kCount, kWords>(x.template Start<kIndex>(), vectors, x.values);
      VF32& sum = (kIndex + kPart) % 2 == 0 ? sums.even : sums.odd;
      sum = hn::MulAdd(hn::ConvertTo(df, P::Widen(dots)),
                       hn::Mul(scale[kIndex], hn::Load(df, x.scales + kIndex * kLanes)), sum);
    });
  }

  VU8 codes[kCodes];
  VF32 scale[P::kSums], offset[E::kHasOffset ? P::kSums : 1];
};

constexpr int kMostTokens = 8;  // whose prepared activations are held at a time

// Where the activations of a chunk lie among those of its slice: whole ones, then the rests.
template <class E>
constexpr size_t kSliceChunks = kSlice / (kWholeChunk<E> * kGroupSize) + 4;
template <class E, int kCount>
HWY_INLINE size_t ChunkIndex(size_t group) {
  if constexpr (kCount == kWholeChunk<E>) return group / kCount;
  return kSliceChunks<E> - (kCount == 8 ? 4 : kCount == 4 ? 3 : kCount == 2 ? 2 : 1);
}

// What the product of a slice reads: [chunk][token][part].
template <class E, int kParts, bool kWords>
void FillInputs(const VectorBatch& x, size_t first, size_t groups, InputChunk<E>* inputs) {
  ForEachChunk<E, kWholeChunk<E>>(nullptr, groups, [&](const uint8_t*, size_t g, auto count) CAIRN_LAMBDA {
    constexpr int kCount = decltype(count)::value;
    InputChunk<E>* to = inputs + ChunkIndex<E, kCount>(g) * x.count * kParts;
    for (size_t i = 0; i < x.count; ++i) {
      to++->template Fill<kCount, kWords>(x.x[i], first + g);
      if constexpr (kParts == 2) to++->template Fill<kCount, kWords>(x.rest[i], first + g);
    }
  });
}

// y[i · stride + r] [+]= row r · token i. With kTokens 1 the sums stay in registers.
template <class E, int kParts, int kTokens>
HWY_INLINE void GemvSlice(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                          const InputChunk<E>* inputs, size_t tokens, bool add, float* y, size_t stride) {
  const DF32 df;
  constexpr size_t kLanes = kVectorBytes / 4;
  constexpr bool kWords = kTokens > 1;
  alignas(64) float lanes[kTokens][kRowsTogether * kLanes] = {};
  for (size_t r = 0; r < rows; ++r) {
    RowSums sums[kTokens];
    for (RowSums& sum : sums) sum = {hn::Zero(df), hn::Zero(df)};
    ForEachChunk<E, kWholeChunk<E>>(
        weights + r * row_bytes, groups, [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
          constexpr int kCount = decltype(count)::value, kBytes = E::kBytes * kCount / E::kGroups;
          for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kPrefetchBytes + i);
          const WeightChunk<E, kCount, kWords> chunk(p);
          const InputChunk<E>* x = inputs + ChunkIndex<E, kCount>(g) * tokens * kParts;
          for (size_t i = 0; i < tokens; ++i, x += kParts) {
            chunk.template Add<0>(sums[i], x[0]);
            if constexpr (kParts == 2) chunk.template Add<1>(sums[i], x[1]);
          }
        });
    const size_t in_batch = r % kRowsTogether;
    for (size_t i = 0; i < tokens; ++i) {
      hn::Store(hn::Add(sums[i].even, sums[i].odd), df, lanes[i] + in_batch * kLanes);
      if (in_batch + 1 == kRowsTogether || r + 1 == rows)
        StoreSums(lanes[i], in_batch + 1, add, y + i * stride + (r - in_batch));
    }
  }
}

template <class E, int kParts, int kTokens>
HWY_NOINLINE void GemvTokens(const void* weights, size_t row_bytes, size_t rows, size_t k,
                             const VectorBatch& x, float* y, size_t stride) {
  constexpr size_t kSliceBytes = kSlice / (kGroupSize * E::kGroups) * E::kBytes;
  const uint8_t* column = static_cast<const uint8_t*>(weights);
  InputChunk<E> inputs[kSliceChunks<E> * kTokens * kParts];
  for (size_t begin = 0; begin < k; begin += kSlice, column += kSliceBytes) {
    const size_t groups = (k - begin < kSlice ? k - begin : kSlice) / kGroupSize;
    FillInputs<E, kParts, (kTokens > 1)>(x, begin / kGroupSize, groups, inputs);
    GemvSlice<E, kParts, kTokens>(column, row_bytes, rows, groups, inputs, kTokens == 1 ? 1 : x.count,
                                  begin != 0, y, stride);
  }
}

template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x, float* y) {
  GemvTokens<E, 1, 1>(weights, row_bytes, rows, k, {&x, nullptr, 1}, y, 0);
}
template <class E>
void GemvPair(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
              const QuantizedVector& rest, float* y) {
  GemvTokens<E, 2, 1>(weights, row_bytes, rows, k, {&x, &rest, 1}, y, 0);
}
template <class E>
void GemvBatch(const void* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x, float* y,
               size_t y_stride) {
  const bool pair = x.rest != nullptr;
  for (size_t i = 0; i < x.count; i += kMostTokens) {
    const size_t left = x.count - i;
    const VectorBatch part{x.x + i, pair ? x.rest + i : nullptr, left < kMostTokens ? left : kMostTokens};
    const auto multiply = part.count == 1 ? (pair ? GemvTokens<E, 2, 1> : GemvTokens<E, 1, 1>)
                          : pair          ? GemvTokens<E, 2, kMostTokens>
                                          : GemvTokens<E, 1, kMostTokens>;
    multiply(weights, row_bytes, rows, k, part, y + i * y_stride, y_stride);
  }
}

// The same for rows of floats: the activations become floats again, and a row that several tokens share
// is in the first-level cache after the first.
template <class E>
void GemvFloatsBatch(const void* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x,
                     float* y, size_t y_stride) {
  const DF32 df;
  const hn::Rebind<int8_t, DF32> d8;
  constexpr size_t kLanes = kVectorBytes / 4;
  if (x.count > kMostTokens) {
    const bool pair = x.rest != nullptr;
    GemvFloatsBatch<E>(weights, row_bytes, rows, k, {x.x, x.rest, kMostTokens}, y, y_stride);
    return GemvFloatsBatch<E>(
        weights, row_bytes, rows, k,
        {x.x + kMostTokens, pair ? x.rest + kMostTokens : nullptr, x.count - kMostTokens},
        y + kMostTokens * y_stride, y_stride);
  }
  alignas(64) float activations[kMostTokens][kSlice];
  for (size_t begin = 0; begin < k; begin += kSlice) {
    const size_t count = k - begin < kSlice ? k - begin : kSlice;
    for (size_t token = 0; token < x.count; ++token) {
      for (size_t i = 0; i < count; i += kLanes) {
        const auto value = [&](const QuantizedVector& from, VF32 sum) CAIRN_LAMBDA {
          const VF32 v = hn::ConvertTo(df, hn::PromoteTo(DI32(), hn::LoadU(d8, from.values + begin + i)));
          return hn::MulAdd(v, hn::Set(df, from.scales[(begin + i) / kGroupSize]), sum);
        };
        VF32 sum = value(x.x[token], hn::Zero(df));
        if (x.rest != nullptr) sum = value(x.rest[token], sum);
        hn::Store(sum, df, activations[token] + i);
      }
    }
    alignas(64) float lanes[kMostTokens][kRowsTogether * kLanes] = {};
    for (size_t r = 0; r < rows; ++r) {
      const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes + begin * E::kBytes;
      const size_t in_batch = r % kRowsTogether;
      for (size_t token = 0; token < x.count; ++token) {
        VF32 sums[4] = {hn::Zero(df), hn::Zero(df), hn::Zero(df), hn::Zero(df)};
        for (size_t i = 0; i < count; i += 2 * kGroupSize) {
          const size_t rest = count - i;
          Unroll<0, 2 * kGroupSize / static_cast<int>(kLanes)>([&](auto part) CAIRN_LAMBDA {
            constexpr size_t kAt = decltype(part)::value * kLanes;
            if (kAt < kGroupSize || rest > kGroupSize) {
              VF32& sum = sums[decltype(part)::value % 4];
              const VF32 v = hn::Load(df, activations[token] + i + kAt);
              sum = hn::MulAdd(v, E::Load(row + (i + kAt) * E::kBytes), sum);
            }
          });
          if (token > 0) continue;
          for (int b = 0; b < 2 * kGroupSize * E::kBytes; b += 64) {
            __builtin_prefetch(row + i * E::kBytes + kPrefetchBytes + b);
          }
        }
        hn::Store(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])), df,
                  lanes[token] + in_batch * kLanes);
        if (in_batch + 1 == kRowsTogether || r + 1 == rows)
          StoreSums(lanes[token], in_batch + 1, begin != 0, y + token * y_stride + (r - in_batch));
      }
    }
  }
}

template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                float* y) {
  GemvFloatsBatch<E>(weights, row_bytes, rows, k, {&x, nullptr, 1}, y, 0);
}
template <class E>
void GemvFloatsPair(const void* weights, size_t row_bytes, size_t rows, size_t k, const QuantizedVector& x,
                    const QuantizedVector& rest, float* y) {
  GemvFloatsBatch<E>(weights, row_bytes, rows, k, {&x, &rest, 1}, y, 0);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
