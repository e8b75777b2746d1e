// Several tokens' products with a few rows of unpacked weights, whatever their encoding was.
#pragma once

#include "kernels/encodings/activations_x86.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// A chunk of a row as every token's product reads it.
struct alignas(64) RowChunk {
  uint8_t codes[kChunkCodes];  // in the order of the sums' words
  float scales[16], offsets[16];
};

// Rows and vectors of activations that are multiplied at once: what is loaded of each serves all of the
// other.
constexpr int kRowsTogether = 2;
constexpr int kPassVectors = 4;
// Chunks of rows, and of all tokens' activations, that go together: they stay in the first-level cache.
constexpr size_t kPassChunks = 8, kPassInputs = 32;
constexpr size_t kMostVectors = 16;  // eight tokens, each perhaps with a rest

// A row's sums: [vector][lane].
using RowSums = float[kMostVectors][kFloatLanes];

// The next chunks of rows and columns, and what is read after them.
struct Pass {
  const RowChunk* rows[kRowsTogether];
  size_t chunks;
  const InputChunk* x;  // [chunk][vectors]
  size_t vectors;
  bool first;                           // whether sums begin here
  const uint8_t* ahead[kRowsTogether];  // to be fetched meanwhile, `chunk_bytes` for each chunk
  size_t chunk_bytes;
};

// sums[row][i] [+]= rows · activations i for kVectors of them from `begin` on.
template <class D, bool kOffset, int kVectors>
HWY_INLINE void MultiplyPass(const Pass& pass, size_t begin, RowSums* sums) {
  const DF32 df;
  // AVX2 has no registers for sums beside those of a chunk.
  VF32 acc[kRowsTogether][kVectors];
  const auto each = [&](const auto& body) CAIRN_LAMBDA {
    Unroll<0, kRowsTogether>(
        [&](auto r) CAIRN_LAMBDA { Unroll<0, kVectors>([&](auto i) CAIRN_LAMBDA { body(r, i); }); });
  };
  const auto load = [&](auto r, auto i) CAIRN_LAMBDA { return hn::Load(df, sums[r.value][begin + i.value]); };
  const auto store = [&](VF32 sum, auto r, auto i)
                         CAIRN_LAMBDA { hn::Store(sum, df, sums[r.value][begin + i.value]); };
  each([&](auto r, auto i) CAIRN_LAMBDA {
    acc[r.value][i.value] = pass.first ? hn::Zero(df) : load(r, i);
    if constexpr (kAcross) store(acc[r.value][i.value], r, i);
  });
  const InputChunk* x = pass.x + begin;
  for (size_t c = 0; c < pass.chunks; ++c, x += pass.vectors) {
    if (begin == 0) {
      for (const uint8_t* ahead : pass.ahead) {
        for (size_t i = 0; i < pass.chunk_bytes; i += 64)
          __builtin_prefetch(ahead + c * pass.chunk_bytes + i);
      }
    }
    Unroll<0, D::kSums>([&](auto s) CAIRN_LAMBDA {
      constexpr int kSum = decltype(s)::value, kEach = kCodeVectors / D::kSums;
      typename D::VSum dots[kRowsTogether][kVectors];
      each([&](auto r, auto i) CAIRN_LAMBDA { dots[r.value][i.value] = Start<D, kSum>(x[i.value]); });
      Unroll<kSum * kEach, (kSum + 1) * kEach>([&](auto v) CAIRN_LAMBDA {
        constexpr int kAt = decltype(v)::value * kStepCodes;
        each([&](auto r, auto i) CAIRN_LAMBDA {
          const VU8 codes = hn::Load(DU8(), pass.rows[r.value][c].codes + kAt);
          dots[r.value][i.value] =
              D::Add(dots[r.value][i.value], codes, hn::Load(DI8(), x[i.value].values + kAt));
        });
      });
      each([&](auto r, auto i) CAIRN_LAMBDA {
        const RowChunk& row = pass.rows[r.value][c];
        const VF32 scale = hn::Load(df, row.scales + kSum * kFloatLanes);
        VF32& sum = acc[r.value][i.value];
        if constexpr (kAcross) sum = load(r, i);
        sum = AddScaled<D, kSum, kOffset>(sum, dots[r.value][i.value], scale, row.offsets, x[i.value]);
        if constexpr (kAcross) store(sum, r, i);
      });
    });
  }
  if constexpr (!kAcross) each([&](auto r, auto i) CAIRN_LAMBDA { store(acc[r.value][i.value], r, i); });
}

// The same for all of a pass's vectors, at most kMostVectors.
template <class D, bool kOffset>
HWY_NOINLINE void MultiplyRows(const Pass& pass, RowSums* sums) {
  size_t i = 0;
  for (; i + kPassVectors <= pass.vectors; i += kPassVectors)
    MultiplyPass<D, kOffset, kPassVectors>(pass, i, sums);
  if (pass.vectors - i == 3) MultiplyPass<D, kOffset, 3>(pass, i, sums);
  if (pass.vectors - i == 2) MultiplyPass<D, kOffset, 2>(pass, i, sums);
  if (pass.vectors - i == 1) MultiplyPass<D, kOffset, 1>(pass, i, sums);
}

// y[0 … count) [+]= the sums of each of four vectors' lanes.
HWY_INLINE void StoreSums(VF32 a, VF32 b, VF32 c, VF32 d, size_t count, bool add, float* HWY_RESTRICT y) {
  const DF32 df;
  const hn::Repartition<double, DF32> d64;
  const auto pairs = [&](VF32 v, VF32 w) CAIRN_LAMBDA {
    return hn::BitCast(d64, hn::Add(hn::InterleaveLower(df, v, w), hn::InterleaveUpper(df, v, w)));
  };
  const auto ab = pairs(a, b), cd = pairs(c, d);
  const VF32 all = hn::Add(hn::BitCast(df, hn::InterleaveLower(d64, ab, cd)),
                           hn::BitCast(df, hn::InterleaveUpper(d64, ab, cd)));
#if HWY_TARGET == HWY_AVX3
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all.raw), _mm512_extractf32x8_ps(all.raw, 1));
#else
  const __m256 half = all.raw;
#endif
  alignas(16) float sums[4];
  _mm_store_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  for (size_t r = 0; r < count; ++r) y[r] = add ? y[r] + sums[r] : sums[r];
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
