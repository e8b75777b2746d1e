// The exact product of int8 weights and activations on every instruction set.
#pragma once

#include <hwy/highway.h>

#include "kernels/dot.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// Where u8 · s8 sums would saturate (x86 without VNNI), |x| goes in as the unsigned side and the weight takes
// x's sign, which is exact for values in ±127.
#if HWY_TARGET == HWY_AVX3 && !CAIRN_HAS_VNNI
struct Activations {
  VU8 magnitude;
  __mmask64 negative;
};
HWY_INLINE Activations load(const uint8_t* p) {
  const VI8 x = hn::BitCast(DI8(), hn::Xor(hn::LoadU(DU8(), p), hn::Set(DU8(), 0x80)));
  return {VU8{_mm512_abs_epi8(x.raw)}, _mm512_movepi8_mask(x.raw)};
}
HWY_INLINE VI32 product(VI32 acc, const Activations& x, VI8 w) {
  const VI8 w_signed{_mm512_mask_sub_epi8(w.raw, x.negative, _mm512_setzero_si512(), w.raw)};
  return hn::Add(acc, Dot2(Dot2(x.magnitude, w_signed), hn::Set(DI16(), int16_t{1})));
}
constexpr bool kSigned = true;
#elif HWY_TARGET == HWY_AVX2 && !CAIRN_HAS_VNNI
struct Activations {
  VU8 magnitude;
  VI8 x;
};
HWY_INLINE Activations load(const uint8_t* p) {
  const VI8 x = hn::BitCast(DI8(), hn::Xor(hn::LoadU(DU8(), p), hn::Set(DU8(), 0x80)));
  return {VU8{_mm256_abs_epi8(x.raw)}, x};
}
HWY_INLINE VI32 product(VI32 acc, const Activations& x, VI8 w) {
  return hn::Add(acc,
                 Dot2(Dot2(x.magnitude, VI8{_mm256_sign_epi8(w.raw, x.x.raw)}), hn::Set(DI16(), int16_t{1})));
}
constexpr bool kSigned = true;
#elif CAIRN_ISA_NEON
using Activations = VI8;
HWY_INLINE Activations load(const uint8_t* p) {
  return hn::BitCast(DI8(), hn::Xor(hn::LoadU(DU8(), p), hn::Set(DU8(), 0x80)));
}
HWY_INLINE VI32 product(VI32 acc, Activations x, VI8 w) {
  return DotNative(acc, x, w);
}
constexpr bool kSigned = true;
#else
using Activations = VU8;
HWY_INLINE Activations load(const uint8_t* p) {
  return hn::LoadU(DU8(), p);
}
HWY_INLINE VI32 product(VI32 acc, Activations x, VI8 w) {
  return Dot4(acc, x, w);
}
constexpr bool kSigned = false;
#endif

HWY_INLINE VI8 broadcast4(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return hn::BitCast(DI8(), hn::Set(DI32(), word));
}

}  // namespace cairn::kernels::CAIRN_TARGET
