// Decode's matrix-vector product on the blocks as they lie in the file, for any encoding that lanes.hpp
// describes.
//
// For each group of 32 the integer product of codes and activations is exact; it is then scaled and summed in
// float: y = Σ_g scale_g · xscale_g · (Σ code · x − zero · Σ x) + Σ_g offset_g · (xscale_g · Σ x).
// Rows go one after another: hardware prefetchers follow one stream well, but not four at a row's distance
// (measured on Zen 5: 27 GB/s against 9–18). What depends on the activations alone is made once for all rows.
// One or two vectors of activations are multiplied with a chunk's codes as they are unpacked; for more, a few
// rows are unpacked first (product_x86.hpp).
#pragma once

#include "kernels/encodings/product_x86.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr size_t kSlice = 16384;  // columns whose prepared activations are held at a time
constexpr size_t kSliceChunks = kSlice / kChunkCodes;
constexpr size_t kMostTokens = 8;  // … and of so many tokens
// Ahead of the block at hand; crosses the page ends where hardware stops.
constexpr size_t kPrefetchBytes = 4096;

template <class E>
using DotsOf = Dots<E::kSubscales == 2, E::kSigned>;
// What is subtracted from codes: signed ones are 128 higher for VNNI; those of 5 bits fit into 16-bit sums
// only around their middle.
template <class E>
constexpr int kCentre = E::kSigned ? (CAIRN_HAS_VNNI ? 128 : 0)
                        : DotsOf<E>::kNarrow&& kAcross && !DotsOf<E>::kHalves && E::kMostCode - E::kZero > 16
                            ? 16
                            : E::kZero;
template <class E>
constexpr int kMissing = E::kSigned ? 0 : kCentre<E> - E::kZero;  // what the sums lack of codes
template <class E>
constexpr size_t kBytesInChunk = size_t{E::kBytes} * kChunkGroups / E::kGroups;

template <class D, int... kLanes>
struct HalvesOfLanes {
  alignas(64) static constexpr int kIndices[] = {D::Half(kLanes)...};
};
template <class D>
using HalvesInWords = HalvesOfLanes<D, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;

// A chunk of a row in registers.
template <class E, bool kWords>
struct WeightChunk {
  using D = DotsOf<E>;

  HWY_INLINE explicit WeightChunk(const uint8_t* HWY_RESTRICT p) {
    alignas(64) float scales[16];
    E::template Scales<kChunkGroups>(p, scales, offset);
    if constexpr (E::kHasOffset && kMissing<E> != 0) {
      const hn::FixedTag<float, 8> d8;
      const auto missing = hn::Set(d8, static_cast<float>(kMissing<E>));
      hn::Store(hn::MulAdd(hn::Load(d8, scales), missing, hn::Load(d8, offset)), d8, offset);
    }
    Unroll<0, D::kSums>([&](auto i)
                            CAIRN_LAMBDA { scale[i.value] = this->template InWords<i.value>(scales); });
    if constexpr (E::kHasOffset && !(kAcross && !D::kHalves)) {
      VF32 ordered[D::kSums];
      Unroll<0, D::kSums>([&](auto i)
                              CAIRN_LAMBDA { ordered[i.value] = this->template InWords<i.value>(offset); });
      Unroll<0, D::kSums>(
          [&](auto i) CAIRN_LAMBDA { hn::Store(ordered[i.value], DF32(), offset + i.value * kFloatLanes); });
    }
    Unroll<0, kCodeVectors>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      using Lanes = std::conditional_t<D::kHalves, InOrder<kIndex, kChunkGroups>, Apart<kIndex>>;
      codes[kIndex] = E::template Codes<Lanes>(p);
      if constexpr (E::kSigned && CAIRN_HAS_VNNI)
        codes[kIndex] = hn::Xor(codes[kIndex], hn::Set(DU8(), uint8_t{0x80}));
    });
    if constexpr (kWords) D::InWords(codes);
  }

  // A scale for each word of vector kIndex of the sums.
  template <int kIndex>
  static HWY_INLINE VF32 InWords(const float* from) {
#if HWY_TARGET == HWY_AVX3
    const __m512i halves = _mm512_load_si512(HalvesInWords<D>::kIndices);
    if constexpr (D::kHalves) return VF32{_mm512_permutexvar_ps(halves, _mm512_load_ps(from))};
    return VF32{
        _mm512_permutexvar_ps(_mm512_srli_epi32(halves, 1), _mm512_castps256_ps512(_mm256_load_ps(from)))};
#else
    const __m256 scales = _mm256_load_ps(from + kIndex * kFloatLanes);
    if constexpr (!D::kHalves) return VF32{scales};
    return VF32{_mm256_permutevar8x32_ps(scales, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))};
#endif
  }

  // sum + the product with a token's activations.
  HWY_INLINE VF32 Add(VF32 sum, const InputChunk& x) const {
    const auto vectors = [&](auto i) CAIRN_LAMBDA { return codes[decltype(i)::value]; };
    Unroll<0, D::kSums>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      typename D::VSum start = hn::Zero(typename D::Sum());
      if constexpr (kCentre<E> != 0) start = Start<D, kIndex>(x);
      const auto dots = D::template Sums<kIndex, kWords>(start, vectors, x.values);
      sum = AddScaled<D, kIndex, E::kHasOffset>(sum, dots, scale[kIndex], offset, x);
    });
    return sum;
  }

  HWY_INLINE void Store(RowChunk& to) const {
    const DF32 df;
    Unroll<0, kCodeVectors>(
        [&](auto i) CAIRN_LAMBDA { hn::Store(codes[i.value], DU8(), to.codes + i.value * kStepCodes); });
    Unroll<0, D::kSums>([&](auto i) CAIRN_LAMBDA {
      constexpr int kAt = decltype(i)::value * kFloatLanes;
      hn::Store(scale[i.value], df, to.scales + kAt);
      if constexpr (E::kHasOffset) hn::Store(hn::Load(df, offset + kAt), df, to.offsets + kAt);
    });
  }

  VU8 codes[kCodeVectors];
  VF32 scale[D::kSums];
  alignas(64) float offset[16];
};

// A slice of rows: its groups, the first chunk's bytes, and where chunks lie. The last chunk of a slice that
// is no multiple of eight groups long begins earlier, and its first groups do not count.
struct Slice {
  size_t groups, chunks;
  const uint8_t* weights;
  ptrdiff_t last;  // of a row's slice: where its last chunk begins
};

// What the product of a slice reads: [chunk][token][part].
template <class E, bool kWords>
void FillInputs(const VectorBatch& x, size_t first, size_t groups, size_t k, InputChunk* to) {
  for (size_t g = 0; g < groups; g += kChunkGroups) {
    ChunkGroups chunk{first + g, 0, kChunkGroups};
    if (k < kChunkCodes) {
      chunk.end = static_cast<int>(k) / kGroupSize;
    } else if (groups - g < kChunkGroups) {
      chunk.begin = kChunkGroups - static_cast<int>(groups - g);
      chunk.first -= static_cast<size_t>(chunk.begin);
    }
    for (size_t i = 0; i < x.count; ++i) {
      FillInput<DotsOf<E>, E::kHasOffset, kCentre<E>, kWords>(x.x[i], chunk, *to++);
      if (x.rest != nullptr) FillInput<DotsOf<E>, E::kHasOffset, kCentre<E>, kWords>(x.rest[i], chunk, *to++);
    }
  }
}

// Calls body(p, c) for each chunk of a row whose slice begins at p.
template <class E, class Body>
HWY_INLINE void ForEachChunkOf(const uint8_t* row, const Slice& slice, size_t begin, size_t end,
                               const Body& body) {
  for (size_t c = begin; c < end; ++c) {
    const ptrdiff_t at = c + 1 == slice.chunks ? slice.last : static_cast<ptrdiff_t>(c * kBytesInChunk<E>);
    body(row + at, c);
  }
}

// y[i · stride + r] [+]= row r · token i, for one vector, or two: two tokens, or one with a rest.
template <class E, int kVectors>
HWY_NOINLINE void GemvFew(const Slice& slice, size_t row_bytes, size_t rows, const InputChunk* inputs,
                          size_t tokens, bool rests, bool add, float* y, size_t stride) {
  const DF32 df;
  VF32 sums[2][4];
  for (VF32& sum : sums[0]) sum = hn::Zero(df);
  for (VF32& sum : sums[1]) sum = hn::Zero(df);
  for (size_t r = 0; r < rows; ++r) {
    VF32 sum = hn::Zero(df), other = hn::Zero(df);
    ForEachChunkOf<E>(slice.weights + r * row_bytes, slice, 0, slice.chunks,
                      [&](const uint8_t* p, size_t c) CAIRN_LAMBDA {
                        for (size_t i = 0; i < kBytesInChunk<E>; i += 64)
                          __builtin_prefetch(p + kPrefetchBytes + i);
                        const WeightChunk<E, !kAcross> chunk(p);
                        const InputChunk* x = inputs + c * kVectors;
                        sum = chunk.Add(sum, x[0]);
                        if constexpr (kVectors == 2) other = chunk.Add(other, x[1]);
                      });
    const size_t at = r % 4;
    sums[0][at] = rests ? hn::Add(sum, other) : sum;
    sums[1][at] = other;
    if (at < 3 && r + 1 < rows) continue;
    for (size_t i = 0; i < tokens; ++i)
      StoreSums(sums[i][0], sums[i][1], sums[i][2], sums[i][3], at + 1, add, y + i * stride + (r - at));
  }
}

// The same for up to kMostTokens tokens.
template <class E>
HWY_NOINLINE void GemvMany(const Slice& slice, size_t row_bytes, size_t rows, const InputChunk* inputs,
                           size_t tokens, bool rests, bool add, float* y, size_t stride) {
  // Rows whose sums wait while the columns are gone through, a pass's at a time.
  constexpr size_t kMostRows = 16;
  const DF32 df;
  RowChunk unpacked[kRowsTogether][kPassChunks];
  alignas(64) RowSums sums[kMostRows];
  Pass pass{.vectors = rests ? 2 * tokens : tokens, .chunk_bytes = kBytesInChunk<E>};
  const size_t in_cache = kPassInputs / pass.vectors, most = in_cache < kPassChunks ? in_cache : kPassChunks;
  const size_t block = slice.chunks <= most ? 4 : kMostRows;
  for (size_t first = 0; first < rows; first += block) {
    const size_t count = rows - first < block ? rows - first : block;
    const uint8_t* weights = slice.weights + first * row_bytes;
    for (size_t begin = 0; begin < slice.chunks; begin += most) {
      const size_t end = slice.chunks - begin < most ? slice.chunks : begin + most;
      pass.chunks = end - begin;
      pass.x = inputs + begin * pass.vectors;
      pass.first = begin == 0;
      for (size_t r = 0; r < count; r += kRowsTogether) {
        for (size_t j = 0; j < kRowsTogether; ++j) {
          // Behind the last row it is multiplied once more, for nobody.
          const uint8_t* row = weights + (r + j < count ? r + j : count - 1) * row_bytes;
          ForEachChunkOf<E>(row, slice, begin, end, [&](const uint8_t* p, size_t c) CAIRN_LAMBDA {
            WeightChunk<E, true>(p).Store(unpacked[j][c - begin]);
          });
          pass.rows[j] = unpacked[j];
          // The next rows' same columns, or the first rows' next ones, or the next block's first ones.
          pass.ahead[j] = r + kRowsTogether < count
                              ? row + kRowsTogether * row_bytes + begin * kBytesInChunk<E>
                          : end < slice.chunks ? weights + j * row_bytes + end * kBytesInChunk<E>
                                               : weights + (count + j) * row_bytes;
        }
        MultiplyRows<DotsOf<E>, E::kHasOffset>(pass, sums + r);
      }
    }
    for (size_t i = 0; i < tokens; ++i) {
      const size_t at = rests ? 2 * i : i;
      for (size_t r = 0; r < count; r += 4) {
        const auto sum = [&](size_t row) CAIRN_LAMBDA {
          const RowSums& of = sums[row < count ? row : r];
          return rests ? hn::Add(hn::Load(df, of[at]), hn::Load(df, of[at + 1])) : hn::Load(df, of[at]);
        };
        StoreSums(sum(r), sum(r + 1), sum(r + 2), sum(r + 3), count - r < 4 ? count - r : 4, add,
                  y + i * stride + first + r);
      }
    }
  }
}

// Rows of at least a chunk, or padded to one.
template <class E>
HWY_NOINLINE void GemvTokens(const uint8_t* weights, size_t row_bytes, size_t rows, size_t k,
                             const VectorBatch& x, float* y, size_t stride) {
  const bool rests = x.rest != nullptr;
  const size_t vectors = rests ? 2 * x.count : x.count;
  InputChunk inputs[kSliceChunks * kMostVectors];
  for (size_t begin = 0; begin < k; begin += kSlice) {
    const size_t groups = (k - begin < kSlice ? k - begin : kSlice) / kGroupSize;
    Slice slice{groups, (groups + kChunkGroups - 1) / kChunkGroups,
                weights + begin / kChunkCodes * kBytesInChunk<E>, 0};
    slice.last = (static_cast<ptrdiff_t>(groups) - kChunkGroups) / E::kGroups * E::kBytes;
    if (k < kChunkCodes) slice.last = 0;
    if (vectors <= 2) {
      FillInputs<E, !kAcross>(x, begin / kGroupSize, groups, k, inputs);
      const auto multiply = vectors == 1 ? &GemvFew<E, 1> : &GemvFew<E, 2>;
      multiply(slice, row_bytes, rows, inputs, x.count, rests, begin != 0, y, stride);
    } else {
      FillInputs<E, true>(x, begin / kGroupSize, groups, k, inputs);
      GemvMany<E>(slice, row_bytes, rows, inputs, x.count, rests, begin != 0, y, stride);
    }
  }
}

template <class E>
void Gemv(const void* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x, float* y,
          size_t y_stride) {
  const auto* row = static_cast<const uint8_t*>(weights);
  for (size_t i = 0; i < x.count; i += kMostTokens) {
    const size_t left = x.count - i;
    const VectorBatch part{x.x + i, x.rest == nullptr ? nullptr : x.rest + i,
                           left < kMostTokens ? left : kMostTokens};
    float* to = y + i * y_stride;
    if (E::kGroups == 1 && k < kChunkCodes) {
      const size_t bytes = k / kGroupSize * E::kBytes;
      uint8_t padded[kBytesInChunk<E>] = {};
      for (size_t r = 0; r < rows; ++r) {
        __builtin_memcpy(padded, row + r * row_bytes, bytes);
        GemvTokens<E>(padded, 0, 1, k, part, to + r, y_stride);
      }
    } else {
      GemvTokens<E>(row, row_bytes, rows, k, part, to, y_stride);
    }
  }
}

// The same for rows of floats: the activations become floats again, and a row that several tokens share
// is in the first-level cache after the first.
template <class E>
void GemvFloats(const void* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x, float* y,
                size_t y_stride) {
  const DF32 df;
  const hn::Rebind<int8_t, DF32> d8;
  constexpr size_t kLanes = kFloatLanes, kBatch = 4;  // rows whose lanes are summed at once
  if (x.count > kMostTokens) {
    const bool pair = x.rest != nullptr;
    GemvFloats<E>(weights, row_bytes, rows, k, {x.x, x.rest, kMostTokens}, y, y_stride);
    return GemvFloats<E>(weights, row_bytes, rows, k,
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
    VF32 lanes[kMostTokens][kBatch];
    for (auto& batch : lanes) {
      for (VF32& sum : batch) sum = hn::Zero(df);
    }
    for (size_t r = 0; r < rows; ++r) {
      const uint8_t* row = static_cast<const uint8_t*>(weights) + r * row_bytes + begin * E::kBytes;
      const size_t in_batch = r % kBatch;
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
        VF32(&batch)[kBatch] = lanes[token];
        batch[in_batch] = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
        if (in_batch + 1 == kBatch || r + 1 == rows) {
          StoreSums(batch[0], batch[1], batch[2], batch[3], in_batch + 1, begin != 0,
                    y + token * y_stride + (r - in_batch));
        }
      }
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
