// Int8 dot products of the instruction set that a file of targets/ is compiled for: Highway 1.0.3 has none.
#pragma once

#include "kernels/isa.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of this instruction set's full width: 64 bytes on AVX-512, 32 on AVX2, 16 elsewhere.
using DU8 = hn::ScalableTag<uint8_t>;
using DI8 = hn::ScalableTag<int8_t>;
using DU16 = hn::ScalableTag<uint16_t>;
using DI16 = hn::ScalableTag<int16_t>;
using DI32 = hn::ScalableTag<int32_t>;
using DU32 = hn::ScalableTag<uint32_t>;
using DF32 = hn::ScalableTag<float>;
using VU8 = hn::Vec<DU8>;
using VI8 = hn::Vec<DI8>;
using VU16 = hn::Vec<DU16>;
using VI16 = hn::Vec<DI16>;
using VI32 = hn::Vec<DI32>;
using VU32 = hn::Vec<DU32>;
using VF32 = hn::Vec<DF32>;
constexpr size_t kVectorBytes = HWY_MAX_BYTES < 64 ? HWY_MAX_BYTES : 64;

#if CAIRN_HAS_VNNI && HWY_TARGET == HWY_AVX3
HWY_INLINE VI32 DotNative(VI32 acc, VU8 u, VI8 s) {
  return VI32{_mm512_dpbusd_epi32(acc.raw, u.raw, s.raw)};
}
#elif CAIRN_HAS_VNNI
HWY_INLINE VI32 DotNative(VI32 acc, VU8 u, VI8 s) {
  return VI32{_mm256_dpbusd_avx_epi32(acc.raw, u.raw, s.raw)};
}
#endif

// Whether Dot4 takes any u8: without VNNI the x86 targets sum pairs of products in 16 bits with saturation.
constexpr bool kDotAnyU8 = CAIRN_HAS_VNNI || !CAIRN_HAS_MADDUBS;

// Two products for each 16-bit lane, u·s summed over neighbours; saturates beyond ±32,767. Exact for u ≤ 128
// and s in [-127, 127].
#if HWY_TARGET == HWY_AVX3
HWY_INLINE VI16 Dot2(VU8 u, VI8 s) {
  return VI16{_mm512_maddubs_epi16(u.raw, s.raw)};
}
HWY_INLINE VI32 Dot2(VI16 a, VI16 b) {
  return VI32{_mm512_madd_epi16(a.raw, b.raw)};
}
#elif HWY_TARGET == HWY_AVX2
HWY_INLINE VI16 Dot2(VU8 u, VI8 s) {
  return VI16{_mm256_maddubs_epi16(u.raw, s.raw)};
}
HWY_INLINE VI32 Dot2(VI16 a, VI16 b) {
  return VI32{_mm256_madd_epi16(a.raw, b.raw)};
}
#endif

#if CAIRN_HAS_MADDUBS
// acc[i] + a[2i] · b[2i] + a[2i + 1] · b[2i + 1]; the caller sees to it that 32 bits hold the sum.
HWY_INLINE VI32 DotPairs(VI32 acc, VI16 a, VI16 b) {
#if CAIRN_HAS_VNNI && HWY_TARGET == HWY_AVX3
  return VI32{_mm512_dpwssd_epi32(acc.raw, a.raw, b.raw)};
#elif CAIRN_HAS_VNNI
  return VI32{_mm256_dpwssd_avx_epi32(acc.raw, a.raw, b.raw)};
#else
  return hn::Add(acc, Dot2(a, b));
#endif
}
#endif

#if CAIRN_ISA_NEON
// acc[i] + Σ a[4i + j] · b[4i + j]; exact for b in [−127, 127].
HWY_INLINE VI32 DotNative(VI32 acc, VI8 a, VI8 b) {
#if CAIRN_HAS_SDOT
  return VI32{vdotq_s32(acc.raw, a.raw, b.raw)};
#else
  const int16x8_t low = vmull_s8(vget_low_s8(a.raw), vget_low_s8(b.raw));
  return VI32{vpadalq_s16(acc.raw, vpaddq_s16(low, vmull_high_s8(a.raw, b.raw)))};
#endif
}
// acc[i] + a[2i] · b[2i] + a[2i + 1] · b[2i + 1], as on x86.
HWY_INLINE VI32 DotPairs(VI32 acc, VI16 a, VI16 b) {
  const int32x4_t low = vmull_s16(vget_low_s16(a.raw), vget_low_s16(b.raw));
  return VI32{vaddq_s32(acc.raw, vpaddq_s32(low, vmull_high_s16(a.raw, b.raw)))};
}
#endif

// acc[i] + Σ u[4i + j] · s[4i + j], j < 4. Without VNNI the x86 targets need u ≤ 128 and s in [-127, 127]
// (any neighbours' sum of products within ±32,767 is enough); elsewhere it is exact for every value.
HWY_INLINE VI32 Dot4(VI32 acc, VU8 u, VI8 s) {
#if CAIRN_HAS_VNNI
  return DotNative(acc, u, s);
#elif CAIRN_HAS_MADDUBS
  return hn::Add(acc, Dot2(Dot2(u, s), hn::Set(DI16(), 1)));
#elif CAIRN_HAS_SMMLA
  return VI32{vusdotq_s32(acc.raw, u.raw, s.raw)};
#elif CAIRN_ISA_NEON
  // (u − 128) · s + 128 · s
  const VI8 a = hn::BitCast(DI8(), hn::Xor(u, hn::Set(DU8(), 0x80)));
#if CAIRN_HAS_SDOT
  const VI8 half = hn::Set(DI8(), 64);
  return DotNative(DotNative(DotNative(acc, a, s), half, s), half, s);
#else
  return hn::Add(DotNative(acc, a, s), VI32{vshlq_n_s32(vpaddlq_s16(vpaddlq_s8(s.raw)), 7)});
#endif
#else
  // Even and odd bytes apart, each widened in place: shifts keep the order that pairwise widening would lose.
  const DI16 d16;
  const DI32 d32;
  const VI16 u16 = hn::BitCast(d16, u), s16 = hn::BitCast(d16, s);
  const VI16 u_even = hn::And(u16, hn::Set(d16, 0xFF));
  const VI16 u_odd = hn::BitCast(d16, hn::ShiftRight<8>(hn::BitCast(DU16(), u16)));
  const VI16 s_even = hn::ShiftRight<8>(hn::ShiftLeft<8>(s16));
  const VI16 s_odd = hn::ShiftRight<8>(s16);
  const VI16 even = hn::Mul(u_even, s_even), odd = hn::Mul(u_odd, s_odd);  // |255 · 128| fits in 16 bits
  const auto low = [&](VI16 v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(hn::BitCast(d32, v))); };
  const auto high = [&](VI16 v) { return hn::ShiftRight<16>(hn::BitCast(d32, v)); };
  return hn::Add(acc, hn::Add(hn::Add(low(even), low(odd)), hn::Add(high(even), high(odd))));
#endif
}

// acc[i] + Σ a[4i + j] · b[4i + j]; exact for a in [-128, 127] and b in [-127, 127].
HWY_INLINE VI32 Dot4Signed(VI32 acc, VI8 a, VI8 b) {
#if CAIRN_ISA_NEON
  return DotNative(acc, a, b);
#elif HWY_TARGET == HWY_AVX2
  // The sign of a moves over to b.
  return Dot4(acc, VU8{_mm256_abs_epi8(a.raw)}, VI8{_mm256_sign_epi8(b.raw, a.raw)});
#elif HWY_TARGET == HWY_AVX3
  const __mmask64 negative = _mm512_movepi8_mask(a.raw);
  return Dot4(acc, VU8{_mm512_abs_epi8(a.raw)},
              VI8{_mm512_mask_sub_epi8(b.raw, negative, _mm512_setzero_si512(), b.raw)});
#else
  // (a + 128) · b - 128 · b
  const VU8 flip = hn::Set(DU8(), 0x80);
  const VI32 dot = Dot4(acc, hn::Xor(hn::BitCast(DU8(), a), flip), b);
  return hn::Sub(dot, Dot4(hn::Zero(DI32()), flip, b));
#endif
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
