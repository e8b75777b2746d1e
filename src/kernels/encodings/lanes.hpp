// What the block encodings are made of: bit fields of packed codes in vectors, and scales gathered from
// blocks.
//
// Codes are handled in steps: kStep counts them from the start of a chunk of up to eight groups of 32. A step
// is a vector on x86 (two groups on AVX-512, one on AVX2: lanes_x86.hpp), elsewhere a group
// (lanes_portable.hpp).
#pragma once

#include "kernels/dot.hpp"
#include "kernels/kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kGroupSize = 32;
constexpr int kChunkGroups = 8;  // 256 codes, the K-quants' block

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

// Calls body(Constant<0>()) … body(Constant<kCount − 1>()): g++ 12 keeps arrays of vectors in registers only
// when no loop is left.
template <int kBegin, int kCount, class Body>
HWY_INLINE void Unroll(const Body& body) {
  if constexpr (kBegin < kCount) {
    body(Constant<kBegin>());
    Unroll<kBegin + 1, kCount>(body);
  }
}
#define CAIRN_LAMBDA HWY_ATTR __attribute__((always_inline))

template <class T>
HWY_INLINE T LoadScalar(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}

// What an encoding declares; each overrides what differs.
//   kBytes, kGroups    a block's size, and its groups of 32
//   kSubscales         scales a group: 1, or 2 when each half of 16 has its own
//   kZero              w = scale * (code - kZero) [+ offset]
//   kSigned            codes are s8 (then kZero is 0) instead of u8 of at most 7 bits
//   kHasOffset         Scales writes offsets too, one for each scale
//   Scales<kCount>(p, scale, offset)   of kCount groups from block p on; room for 8 * kSubscales, the rest 0
//   Codes<kStep, kCount>(p)            the codes of step kStep
template <int kBlockBytes, int kBlockGroups = 1>
struct Block {
  static constexpr int kBytes = kBlockBytes, kGroups = kBlockGroups;
  static constexpr int kSubscales = 1, kZero = 0;
  static constexpr bool kSigned = false, kHasOffset = false;
};

// IEEE 754 binary16, exactly.
HWY_INLINE float LoadHalf(const uint8_t* p) {
  const uint16_t half = LoadScalar<uint16_t>(p);
#if CAIRN_HAS_MADDUBS
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
#else
  // Exponent and mantissa move into place, then a product corrects the exponent's bias; it is exact for
  // subnormals too.
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16,
                 rest = static_cast<uint32_t>(half & 0x7FFF) << 13;
  float value;
  __builtin_memcpy(&value, &rest, 4);
  value *= 0x1p112f;
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  if ((half & 0x7C00) == 0x7C00) bits |= 0x7F800000;  // infinities and NaN
  bits |= sign;
  __builtin_memcpy(&value, &bits, 4);
  return value;
#endif
}

// out[i] = the half at p + i · kStride for i < kCount; out has room for 8, the rest becomes 0.
template <int kStride, int kCount>
HWY_INLINE void LoadHalves(const uint8_t* p, float* HWY_RESTRICT out) {
#if CAIRN_HAS_MADDUBS
  // Put together in general registers, which have nothing else to do.
  const auto four = [&](int begin) CAIRN_LAMBDA {
    uint64_t word = 0;
    for (int i = 0; i < 4 && begin + i < kCount; ++i) {
      word |= static_cast<uint64_t>(LoadScalar<uint16_t>(p + (begin + i) * kStride)) << (16 * i);
    }
    return static_cast<int64_t>(word);
  };
  _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_set_epi64x(four(4), four(0))));
#else
  for (int i = 0; i < 8; ++i) out[i] = i < kCount ? LoadHalf(p + i * kStride) : 0;
#endif
}

// out[i] = scale · bytes[i] for kCount (8 or 16) bytes of type T (int8_t or uint8_t).
template <int kCount, class T>
HWY_INLINE void ScaleBytes(const T* bytes, float scale, float* HWY_RESTRICT out) {
#if CAIRN_HAS_MADDUBS
  const hn::CappedTag<float, 8> df;
  const hn::Rebind<int32_t, decltype(df)> di;
  const hn::Rebind<T, decltype(df)> d8;
  for (int i = 0; i < kCount; i += 8) {
    const auto values = hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(d8, bytes + i)));
    hn::StoreU(hn::Mul(hn::Set(df, scale), values), df, out + i);
  }
#else
  for (int i = 0; i < kCount; ++i) out[i] = scale * static_cast<float>(bytes[i]);
#endif
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();

#if CAIRN_HAS_MADDUBS
#include "kernels/encodings/lanes_x86.hpp"
#else
#include "kernels/encodings/lanes_portable.hpp"
#endif
