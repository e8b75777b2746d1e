// Decode's matrix-vector product on the blocks as they lie in the file, for any encoding that lanes.hpp
// describes.
//
// For each group of 32 the integer product of codes and activations is exact; it is then scaled and summed in
// float: y = Σ_g scale_g · xscale_g · (Σ code · x − zero · Σ x) + Σ_g offset_g · (xscale_g · Σ x).
// Rows go one after another for few tokens: hardware prefetchers follow one stream well, but not four at a
// row's distance (measured on Zen 5: 27 GB/s against 9–18). For many tokens products take longer than
// reading, and four rows share what is loaded. What depends on the activations alone is made once for all
// rows.
#pragma once

#include "kernels/encodings/activations_x86.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kRowsTogether = 4;  // rows whose lanes are summed at once
// Ahead of the block at hand; crosses the page ends where hardware stops.
constexpr size_t kPrefetchBytes = 4096;

// The sums of up to four vectors' lanes, `stride` floats apart, into y[0 … count); all four are read.
HWY_INLINE void StoreSums(const float* HWY_RESTRICT lanes, size_t stride, size_t count,
                          float* HWY_RESTRICT y) {
  const DF32 df;
  const hn::Repartition<double, DF32> d64;
  const auto pairs = [&](size_t row) CAIRN_LAMBDA {
    const VF32 a = hn::Load(df, lanes + row * stride), b = hn::Load(df, lanes + (row + 1) * stride);
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
  for (size_t r = 0; r < count; ++r) y[r] = sums[r];
}

// A chunk of a row: what every token's product with it shares.
template <class E, bool kFine, int kCount, bool kWords>
struct WeightChunk {
  using Of = CodesOf<E, kFine>;
  using P = Products<typename Of::L>;
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
        if constexpr (Of::kMissing != 0)
          offset[kIndex] = hn::MulAdd(in_order, hn::Set(DF32(), Of::kMissing), offset[kIndex]);
      }
    });
    constexpr int kOpen = kCount < kChunkGroups ? kCount : kChunkGroups;
    const auto first = E::template Open<kOpen>(p);
    const auto last = E::template Open<kOpen>(p + (kCount - kOpen) / E::kGroups * E::kBytes);
    Unroll<0, kCodes>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      if constexpr (kIndex < P::template kCodes<kOpen>) {
        codes[kIndex] = Of::template Codes<kIndex, kOpen>(first);
      } else if constexpr (kIndex < P::template kCodes<kCount>) {
        codes[kIndex] = Of::template Codes<kIndex - P::template kCodes<kOpen>, kOpen>(last);
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

  // sum + the product with a token's activations.
  HWY_INLINE VF32 Add(VF32 sum, const InputChunk<typename Of::L>& x) const {
    Unroll<0, P::kSums>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      const auto dots = P::template Sums<kIndex, kCount, kWords>(x.template Start<kIndex>(), codes, x.values);
      sum = x.template AddScaled<kIndex>(sum, dots, scale[kIndex], offset[E::kHasOffset ? kIndex : 0]);
    });
    return sum;
  }

  VU8 codes[kCodes];
  VF32 scale[P::kSums], offset[E::kHasOffset ? P::kSums : 1];
};

constexpr size_t kMostTokens = 8;              // that share an unpacking of the weights
constexpr int kTileRows = 4, kTileTokens = 2;  // of a tile, whose sums of integers fit the registers of AVX2
constexpr size_t kGroupRows = 16;              // whose sums wait in the first-level cache,
constexpr size_t kSliceBytes = 20 << 10;       // beside so many bytes of activations
// So many tokens' sums stay in registers: adding each token's lanes across is cheaper than tiles.
template <class L>
constexpr size_t kFewTokens = Products<L>::kSums > 1 ? 1 : 2;

// Chunks of a row of so many groups.
template <class E>
HWY_INLINE size_t ChunksOf(size_t groups) {
  size_t chunks = 0;
  ForEachProductChunk<E>(nullptr, 0, groups,
                         [&](const uint8_t*, size_t, size_t, auto) CAIRN_LAMBDA { ++chunks; });
  return chunks;
}

template <class E, bool kFine>
using InputsOf = InputChunk<typename CodesOf<E, kFine>::L>;

// A chunk of kTileRows rows, unpacked.
template <class L>
struct WeightTile {
  using P = Products<L>;
  static constexpr int kLanes = static_cast<int>(kVectorBytes) / 4;
  static constexpr int kOffsets = L::kHasOffset ? P::kSums : 1, kAll = P::kAllCodes * P::kFactors;

  // Row r's chunk begins at p + places[r].
  template <class E, int kCount>
  HWY_INLINE void Unpack(const uint8_t* HWY_RESTRICT p, const size_t (&places)[kTileRows]) {
    for (int r = 0; r < kTileRows; ++r) {
      const WeightChunk<E, L::kFine, kCount, true> chunk(p + places[r]);
      for (int i = 0; i < P::kAllCodes; ++i) {
        uint8_t(*to)[kTileRows][kStepCodes] = factors + i * P::kFactors;
        hn::Store(P::template Factor<0>(chunk.codes[i]), DU8(), to[0][r]);
        if constexpr (L::kFine) hn::Store(P::template Factor<1>(chunk.codes[i]), DU8(), to[1][r]);
      }
      Unroll<0, P::kSums>([&](auto i) CAIRN_LAMBDA {
        hn::Store(chunk.scale[i.value], DF32(), scales[i.value][r]);
        if constexpr (L::kHasOffset) hn::Store(chunk.offset[i.value], DF32(), offsets[i.value][r]);
      });
    }
  }

  // sums[row][token] += the product with two tokens.
  HWY_INLINE void Add(const InputChunk<L>& first, const InputChunk<L>& second,
                      float* HWY_RESTRICT sums) const {
    constexpr int kTokens = kTileTokens, kRows = kTileRows;
    const InputChunk<L>* const x[kTokens] = {&first, &second};
    Unroll<0, P::kSums>([&](auto index) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(index)::value, kEach = kAll / P::kSums;
      typename P::VSum dots[kRows][kTokens];
      Unroll<0, kTokens>([&](auto token) CAIRN_LAMBDA {
        const auto start = x[token.value]->template Start<kIndex>();
        Unroll<0, kRows>([&](auto row) CAIRN_LAMBDA { dots[row.value][token.value] = start; });
      });
      // A loop whose end the compiler cannot see: unrolled, it would go a row after the other and spill.
      const uint8_t* from = factors[kIndex * kEach][0];
      size_t at = kIndex * kEach * kStepCodes, end = at + kEach * kStepCodes;
      __asm__("" : "+r"(from), "+r"(end));
      do {
        VI8 values[kTokens];
        Unroll<0, kTokens>([&](auto token) CAIRN_LAMBDA {
          values[token.value] = hn::Load(DI8(), x[token.value]->values + at);
        });
        Unroll<0, kRows>([&](auto row) CAIRN_LAMBDA {
          const VU8 w = hn::Load(DU8(), from + row.value * kStepCodes);
          Unroll<0, kTokens>([&](auto token) CAIRN_LAMBDA {
            dots[row.value][token.value] = P::Add(dots[row.value][token.value], w, values[token.value]);
          });
        });
        from += kRows * kStepCodes;
        at += kStepCodes;
      } while (at != end);
      Unroll<0, kRows>([&](auto row) CAIRN_LAMBDA {
        constexpr int kRow = decltype(row)::value;
        const VF32 scale = hn::Load(DF32(), scales[kIndex][kRow]);
        const VF32 offset = hn::Load(DF32(), offsets[L::kHasOffset ? kIndex : 0][kRow]);
        Unroll<0, kTokens>([&](auto token) CAIRN_LAMBDA {
          constexpr int kToken = decltype(token)::value;
          float* to = sums + (kRow * kMostTokens + kToken) * kLanes;
          const VF32 sum = hn::Load(DF32(), to);
          hn::Store(x[kToken]->template AddScaled<kIndex>(sum, dots[kRow][kToken], scale, offset), DF32(),
                    to);
        });
      });
    });
  }

  alignas(64) uint8_t factors[kAll][kTileRows][kStepCodes];
  alignas(64) float scales[P::kSums][kTileRows][kLanes];
  alignas(64) float offsets[kOffsets][kTileRows][kLanes];
};

// The same for all tokens; of an odd number the last goes twice: the second sum is nobody's.
template <class L>
HWY_NOINLINE void AddTokens(const WeightTile<L>& tile, const InputChunk<L>* inputs, size_t tokens,
                            float* HWY_RESTRICT sums) {
  for (size_t i = 0; i < tokens; i += kTileTokens)
    tile.Add(inputs[i], inputs[i + 1 < tokens ? i + 1 : i], sums + i * WeightTile<L>::kLanes);
}

// sums[row][token] += `rows` rows · tokens, over some chunks. As many bytes are fetched on the way, from
// `fetch` on.
template <class E, bool kFine>
HWY_INLINE void AddTile(const uint8_t* weights, size_t row_bytes, size_t rows, size_t before, size_t groups,
                        const InputsOf<E, kFine>* inputs, size_t tokens, const uint8_t*& fetch, float* sums) {
  using L = typename CodesOf<E, kFine>::L;
  WeightTile<L> tile;
  size_t places[kTileRows];  // beyond `rows` the last one again
  for (size_t r = 0; r < kTileRows; ++r) places[r] = (r < rows ? r : rows - 1) * row_bytes;
  ForEachProductChunk<E>(
      weights, before, groups, [&](const uint8_t* p, size_t, size_t, auto count) CAIRN_LAMBDA {
        constexpr int kCount = decltype(count)::value, kBytes = E::kBytes * kCount / E::kGroups;
        for (int i = 0; i < kTileRows * kBytes; i += 64) __builtin_prefetch(fetch + i, 0, 2);
        fetch += kTileRows * kBytes;
        tile.template Unpack<E, kCount>(p, places);
        AddTokens(tile, inputs, tokens, sums);
        inputs += tokens;
      });
}

// Many tokens: a tile of rows is unpacked for all of them, and columns go in slices, so that their
// activations stay in the first-level cache for kGroupRows rows.
template <class E, bool kFine>
HWY_NOINLINE void GemvMany(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                           const InputsOf<E, kFine>* inputs, size_t tokens, float* y, size_t stride) {
  constexpr size_t kLanes = kVectorBytes / 4, kWhole = kWholeChunk<E>;
  const size_t chunk_bytes = tokens * sizeof(InputsOf<E, kFine>), chunks = (groups + kWhole - 1) / kWhole;
  const size_t slices = (chunks * chunk_bytes + kSliceBytes - 1) / kSliceBytes;
  const size_t slice_groups = (chunks + slices - 1) / slices * kWhole;
  alignas(64) float sums[kGroupRows][kMostTokens][kLanes];
  for (size_t first = 0; first < rows; first += kGroupRows) {
    const size_t count = rows - first < kGroupRows ? rows - first : kGroupRows;
    __builtin_memset(sums, 0, sizeof(sums));
    // The rows after these, in the order in which they lie and into the second-level cache: parts of rows far
    // apart are nothing that the hardware foresees.
    const uint8_t* fetch = weights + (first + kGroupRows) * row_bytes;
    for (size_t begin = 0; begin < groups; begin += slice_groups) {
      const size_t part = groups - begin < slice_groups ? groups - begin : slice_groups;
      const uint8_t* p = weights + first * row_bytes + begin / E::kGroups * E::kBytes;
      const InputsOf<E, kFine>* x = inputs + begin / kWhole * tokens;
      for (size_t r = 0; r < count; r += kTileRows)
        AddTile<E, kFine>(p + r * row_bytes, row_bytes, count - r, begin, part, x, tokens, fetch, sums[r][0]);
    }
    for (size_t r = 0; r < count; r += kRowsTogether) {
      const size_t left = count - r < kRowsTogether ? count - r : kRowsTogether;
      for (size_t i = 0; i < tokens; ++i)
        StoreSums(sums[r][i], kMostTokens * kLanes, left, y + i * stride + first + r);
    }
  }
}

// Few tokens, whose sums stay in registers, a row after the other.
template <class E, bool kFine, int kTokens>
HWY_NOINLINE void GemvFew(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups,
                          const InputsOf<E, kFine>* inputs, float* y, size_t stride) {
  constexpr size_t kLanes = kVectorBytes / 4;
  alignas(64) float lanes[kTokens][kRowsTogether * kLanes] = {};
  for (size_t r = 0; r < rows; ++r) {
    VF32 sums[kTokens];
    for (VF32& sum : sums) sum = hn::Zero(DF32());
    const InputsOf<E, kFine>* x = inputs;
    const uint8_t* from = weights + r * row_bytes;
    size_t rest = groups;
    // Two chunks at a time: a block's look-ups and sums are long chains, and one has to wait where two need
    // not.
    if constexpr (E::kGroups == 8 && E::kPairs) {
      constexpr int kWhole = kWholeChunk<E>, kChunkBytes = E::kBytes * (kWhole / 8);
      using W = WeightChunk<E, kFine, kWhole, false>;
      for (; rest >= 2 * kWhole; rest -= 2 * kWhole) {
        for (int j = 0; j < 2 * kChunkBytes; j += 64) __builtin_prefetch(from + kPrefetchBytes + j);
        const W a(from), b(from + kChunkBytes);
        Unroll<0, kTokens>([&](auto token)
                               CAIRN_LAMBDA { sums[token.value] = a.Add(sums[token.value], *x++); });
        Unroll<0, kTokens>([&](auto token)
                               CAIRN_LAMBDA { sums[token.value] = b.Add(sums[token.value], *x++); });
        from += 2 * kChunkBytes;
      }
    }
    ForEachProductChunk<E>(from, 0, rest, [&](const uint8_t* p, size_t, size_t, auto count) CAIRN_LAMBDA {
      constexpr int kCount = decltype(count)::value, kBytes = E::kBytes * kCount / E::kGroups;
      for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kPrefetchBytes + i);
      const WeightChunk<E, kFine, kCount, false> chunk(p);
      Unroll<0, kTokens>([&](auto token)
                             CAIRN_LAMBDA { sums[token.value] = chunk.Add(sums[token.value], *x++); });
    });
    const size_t in_batch = r % kRowsTogether;
    for (size_t i = 0; i < kTokens; ++i) {
      hn::Store(sums[i], DF32(), lanes[i] + in_batch * kLanes);
      if (in_batch + 1 == kRowsTogether || r + 1 == rows)
        StoreSums(lanes[i], kLanes, in_batch + 1, y + i * stride + (r - in_batch));
    }
  }
}

template <class L, int kBlockGroups>
struct BlocksOf : L {
  static constexpr int kGroups = kBlockGroups, kBytes = 0;
};

// What the product reads: [eight tokens][chunk][token].
template <class L, int kBlockGroups, bool kWords>
void FillInputs(const VectorBatch& x, size_t groups, int centre, InputChunk<L>* to) {
  ForEachProductChunk<BlocksOf<L, kBlockGroups>>(
      nullptr, 0, groups, [&](const uint8_t*, size_t g, size_t skip, auto count) CAIRN_LAMBDA {
        for (size_t i = 0; i < x.count; ++i)
          to++->template Fill<decltype(count)::value, kWords>(x.x[i], L::kFine ? x.rest + i : nullptr, g,
                                                              skip, centre);
      });
}

template <class E>
size_t PreparedBytes(size_t k, size_t count, bool fine) {
  return ChunksOf<E>(k / kGroupSize) * count *
         (fine ? sizeof(InputsOf<E, true>) : sizeof(InputsOf<E, false>));
}

template <class E, bool kFine>
void PrepareInputs(const VectorBatch& x, size_t k, void* prepared) {
  using Of = CodesOf<E, kFine>;
  using L = typename Of::L;
  auto* to = static_cast<InputChunk<L>*>(prepared);
  const size_t groups = k / kGroupSize, chunks = ChunksOf<E>(groups);
  for (size_t i = 0; i < x.count; i += kMostTokens) {
    const size_t left = x.count - i;
    const VectorBatch part{x.x + i, kFine ? x.rest + i : nullptr, left < kMostTokens ? left : kMostTokens};
    (part.count > kFewTokens<L> ? FillInputs<L, E::kGroups, true>
                                : FillInputs<L, E::kGroups, false>)(part, groups, Of::kCentre, to);
    to += chunks * part.count;
  }
}

template <class E>
void Prepare(const VectorBatch& x, size_t k, void* prepared) {
  (x.rest != nullptr ? PrepareInputs<E, true> : PrepareInputs<E, false>)(x, k, prepared);
}

template <class E, bool kFine>
void GemvInputs(const uint8_t* weights, size_t row_bytes, size_t rows, size_t groups, const PreparedBatch& x,
                float* y, size_t stride) {
  const auto* inputs = static_cast<const InputsOf<E, kFine>*>(x.data);
  constexpr size_t kFew = kFewTokens<typename CodesOf<E, kFine>::L>;
  const size_t chunks = ChunksOf<E>(groups);
  for (size_t i = 0; i < x.count; i += kMostTokens) {
    const size_t tokens = x.count - i < kMostTokens ? x.count - i : kMostTokens;
    if (tokens > kFew)
      GemvMany<E, kFine>(weights, row_bytes, rows, groups, inputs, tokens, y, stride);
    else if (tokens == kFew)
      GemvFew<E, kFine, kFew>(weights, row_bytes, rows, groups, inputs, y, stride);
    else
      GemvFew<E, kFine, 1>(weights, row_bytes, rows, groups, inputs, y, stride);
    inputs += chunks * tokens;
    y += tokens * stride;
  }
}

template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const PreparedBatch& x, float* y,
          size_t y_stride) {
  (x.fine ? GemvInputs<E, true> : GemvInputs<E, false>)(static_cast<const uint8_t*>(weights), row_bytes, rows,
                                                        k / kGroupSize, x, y, y_stride);
}

// The same for rows of floats: the activations become floats again, and a row that several tokens share is in
// the first-level cache after the first.
inline size_t PreparedFloatBytes(size_t k, size_t count, bool) {
  return count * k * sizeof(float);
}
inline void PrepareFloats(const VectorBatch& x, size_t k, void* prepared) {
  const DF32 df;
  const hn::Rebind<int8_t, DF32> d8;
  auto* to = static_cast<float*>(prepared);
  for (size_t token = 0; token < x.count; ++token) {
    for (size_t i = 0; i < k; i += kVectorBytes / 4, to += kVectorBytes / 4) {
      const auto value = [&](const QuantizedVector& from, VF32 sum) CAIRN_LAMBDA {
        const VF32 v = hn::ConvertTo(df, hn::PromoteTo(DI32(), hn::LoadU(d8, from.values + i)));
        return hn::MulAdd(v, hn::Set(df, from.scales[i / kGroupSize]), sum);
      };
      VF32 sum = value(x.x[token], hn::Zero(df));
      if (x.rest != nullptr) sum = value(x.rest[token], sum);
      hn::Store(sum, df, to);
    }
  }
}

template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const PreparedBatch& x,
                float* y, size_t y_stride) {
  const DF32 df;
  constexpr size_t kLanes = kVectorBytes / 4;
  for (size_t first = 0; first < x.count; first += kMostTokens) {
    const size_t tokens = x.count - first < kMostTokens ? x.count - first : kMostTokens;
    const float* activations = static_cast<const float*>(x.data) + first * k;
    alignas(64) float lanes[kMostTokens][kRowsTogether * kLanes] = {};
    for (size_t r = 0; r < rows; ++r) {
      const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes;
      const size_t in_batch = r % kRowsTogether;
      for (size_t token = 0; token < tokens; ++token) {
        VF32 sums[4] = {hn::Zero(df), hn::Zero(df), hn::Zero(df), hn::Zero(df)};
        for (size_t i = 0; i < k; i += 2 * kGroupSize) {
          const size_t rest = k - i;
          Unroll<0, 2 * kGroupSize / static_cast<int>(kLanes)>([&](auto part) CAIRN_LAMBDA {
            constexpr size_t kAt = decltype(part)::value * kLanes;
            if (kAt < kGroupSize || rest > kGroupSize) {
              VF32& sum = sums[decltype(part)::value % 4];
              const VF32 v = hn::Load(df, activations + token * k + i + kAt);
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
          StoreSums(lanes[token], kLanes, in_batch + 1, y + (first + token) * y_stride + (r - in_batch));
      }
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
