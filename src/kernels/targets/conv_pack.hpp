// Sums to bytes and samples: the ends of conv.cpp's loops.
#pragma once

#include <hwy/highway.h>

#include "kernels/dot.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// To the nearest integer, ties to even; the caller sees to it that 32 bits hold it.
HWY_INLINE VI32 nearest(VF32 v) {
#if HWY_TARGET == HWY_AVX3
  return VI32{_mm512_cvtps_epi32(v.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI32{_mm256_cvtps_epi32(v.raw)};
#else
  return hn::NearestInt(v);
#endif
}

HWY_INLINE VI32 round_product(VI32 sum, VF32 multiplier) {
  return nearest(hn::Mul(hn::ConvertTo(DF32(), sum), multiplier));
}

// Bytes a[i], b[i], c[i], d[i] of each lane i, clamped to [0, 255].
HWY_INLINE VU8 interleave4(VI32 a, VI32 b, VI32 c, VI32 d) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  // Packing leaves, in each 128 bits, four bytes of a, of b, of c and of d.
  alignas(16) static constexpr uint8_t kTranspose[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                                         2, 6, 10, 14, 3, 7, 11, 15};
  const VU8 order = hn::LoadDup128(DU8(), kTranspose);
#if HWY_TARGET == HWY_AVX3
  const __m512i ab = _mm512_packs_epi32(a.raw, b.raw), cd = _mm512_packs_epi32(c.raw, d.raw);
  return VU8{_mm512_shuffle_epi8(_mm512_packus_epi16(ab, cd), order.raw)};
#else
  const __m256i ab = _mm256_packs_epi32(a.raw, b.raw), cd = _mm256_packs_epi32(c.raw, d.raw);
  return VU8{_mm256_shuffle_epi8(_mm256_packus_epi16(ab, cd), order.raw)};
#endif
#else
  const DI32 di;
  const VI32 zero = hn::Zero(di), most = hn::Set(di, 255);
  const auto clamped = [&](VI32 v) { return hn::Min(hn::Max(v, zero), most); };
  return hn::BitCast(DU8(), hn::Or(hn::Or(clamped(a), hn::ShiftLeft<8>(clamped(b))),
                                   hn::Or(hn::ShiftLeft<16>(clamped(c)), hn::ShiftLeft<24>(clamped(d)))));
#endif
}

// acc[i] + a's two 16-bit halves times b's.
HWY_INLINE VI32 dot_pairs(VI32 acc, VI32 a, VI32 b) {
#if CAIRN_ISA_X86 || CAIRN_ISA_NEON
  return DotPairs(acc, hn::BitCast(DI16(), a), hn::BitCast(DI16(), b));
#else
  const auto low = [](VI32 v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const auto high = [](VI32 v) { return hn::ShiftRight<16>(v); };
  return hn::Add(acc, hn::Add(hn::Mul(low(a), low(b)), hn::Mul(high(a), high(b))));
#endif
}

// Scale vectors of samples (in [0, 65,535]), side by side: out[x · Scale + i] = s[i][x].
template <size_t Scale>
HWY_INLINE void store_row(const VI32* s, uint16_t* out) {
  const DU32 d;
  const auto two = [&](VI32 a, VI32 b) HWY_ATTR { return hn::BitCast(d, hn::Or(a, hn::ShiftLeft<16>(b))); };
  if constexpr (Scale == 1) {
    hn::StoreU(hn::DemoteTo(hn::Rebind<uint16_t, DI32>(), s[0]), hn::Rebind<uint16_t, DI32>(), out);
  } else if constexpr (Scale == 2) {
    hn::StoreU(two(s[0], s[1]), d, reinterpret_cast<uint32_t*>(out));
  } else if constexpr (Scale == 4) {
    hn::StoreInterleaved2(two(s[0], s[1]), two(s[2], s[3]), d, reinterpret_cast<uint32_t*>(out));
  } else {
    constexpr size_t kLanes = HWY_LANES(float);
    HWY_ALIGN int32_t lanes[Scale][kLanes];
    for (size_t i = 0; i < Scale; ++i) hn::Store(s[i], DI32(), lanes[i]);
    for (size_t x = 0; x < kLanes; ++x) {
      for (size_t i = 0; i < Scale; ++i) out[x * Scale + i] = static_cast<uint16_t>(lanes[i][x]);
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
