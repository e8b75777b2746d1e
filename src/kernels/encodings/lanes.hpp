// What the block encodings are made of: bit fields of packed codes in vectors, and scales gathered from
// blocks.
//
// Codes are handled in steps out of a chunk of up to eight groups of 32. A step is a vector on x86
// (lanes_x86.hpp), elsewhere a group (lanes_neon.hpp, lanes_portable.hpp).
#pragma once

#include <type_traits>
#include <utility>

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

// Calls body(Constant<kBegin>()) … body(Constant<kEnd − 1>()): g++ 12 keeps arrays of vectors in registers
// only when no loop is left.
template <int kBegin, class Body, int... kSteps>
HWY_INLINE void UnrollSteps(std::integer_sequence<int, kSteps...>, const Body& body) {
  (body(Constant<kBegin + kSteps>()), ...);
}
template <int kBegin, int kEnd, class Body>
HWY_INLINE void Unroll(const Body& body) {
  if constexpr (kBegin < kEnd) UnrollSteps<kBegin>(std::make_integer_sequence<int, kEnd - kBegin>(), body);
}
#define CAIRN_LAMBDA HWY_ATTR __attribute__((always_inline))

constexpr int kPieces = CAIRN_ISA_X86 ? static_cast<int>(kVectorBytes) / 16 : 2;  // of 16 codes in a step
// Which codes a step of a chunk of kCount groups holds: its lane of 16 has half Half(lane) of group
// Group(lane). Of what lies beyond the chunk it repeats the last group.
template <int kStep, int kCount>
struct InOrder {
  static constexpr int Half(int lane) { return lane % 2; }
  static constexpr int Group(int lane) {
    const int group = (kStep * kPieces + lane) / 2;
    return group < kCount ? group : kCount - 1;
  }
};

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
//   kMostCode          the largest code, unless kSigned
//   kSigned            codes are s8 (then kZero is 0) instead of u8 of at most 7 bits
//   kHasOffset         Scales writes offsets too, one for each scale
//   kPairs             decode unpacks two chunks at a time, where registers allow it
//   kFourRows          decode takes four rows at a time on ARM64 (gemv_neon.hpp): fewer instructions where
//   they fit in registers Scales<kCount>(p, scale, offset)   of kCount groups from block p on; room for 8 *
//   kSubscales, the rest 0 Open<kCount>(p)                    what Codes reads, once for all steps of kCount
//   groups from block p on: p Codes<Lanes>(opened)               the codes of a step, say InOrder<kStep,
//   kCount>
template <int kBlockBytes, int kBlockGroups = 1>
struct Block {
  static constexpr int kBytes = kBlockBytes, kGroups = kBlockGroups;
  static constexpr int kSubscales = 1, kZero = 0, kMostCode = 15;
  static constexpr bool kSigned = false, kHasOffset = false, kIsFloat = false, kPairs = true,
                        kFourRows = false;
  template <int kCount>
  static HWY_INLINE const uint8_t* Open(const uint8_t* p) {
    return p;
  }
};

// Each byte, at most 127, less kValue, as int8.
template <uint8_t kValue>
HWY_INLINE uint64_t SubtractFromBytes(uint64_t bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  return ((bytes | 0x80 * kOnes) - kValue * kOnes) ^ 0x80 * kOnes;  // the upper bits keep borrows apart
}

// Eight nibbles, lowest first, spread to a byte each, the distance halved in each step.
HWY_INLINE uint64_t SpreadNibbles(uint64_t word) {
  word = (word | word << 16) & 0x0000FFFF0000FFFF;
  word = (word | word << 8) & 0x00FF00FF00FF00FF;
  return (word | word << 4) & 0x0F0F0F0F0F0F0F0F;
}

// IEEE 754 binary16, exactly.
HWY_INLINE float LoadHalf(const uint8_t* p) {
  const uint16_t half = LoadScalar<uint16_t>(p);
#if CAIRN_ISA_X86
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
#elif CAIRN_ISA_NEON
  __fp16 value;
  __builtin_memcpy(&value, &half, 2);
  return static_cast<float>(value);
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

#if CAIRN_ISA_X86
// kCount values of type T (1, 2 or 4 bytes), `kStride` bytes apart, in a vector; the rest is 0. They are put
// together in general registers, which have little else to do.
template <class T, int kStride, int kCount>
HWY_INLINE auto GatherScalars(const uint8_t* p) {
  constexpr int kPerWord = 8 / static_cast<int>(sizeof(T)), kBits = 8 * static_cast<int>(sizeof(T));
  const auto word = [&](auto index) CAIRN_LAMBDA {
    constexpr int kBegin = decltype(index)::value * kPerWord;
    uint64_t bits = 0;
    Unroll<kBegin, (kBegin + kPerWord < kCount ? kBegin + kPerWord : kCount)>([&](auto i) CAIRN_LAMBDA {
      constexpr int kIndex = decltype(i)::value;
      bits |= static_cast<uint64_t>(LoadScalar<T>(p + kIndex * kStride)) << (kBits * (kIndex - kBegin));
    });
    return static_cast<int64_t>(bits);
  };
  if constexpr (sizeof(T) == 1) {
    return _mm_cvtsi64_si128(word(Constant<0>()));
  } else {
    const __m128i low = _mm_set_epi64x(word(Constant<1>()), word(Constant<0>()));
    if constexpr (sizeof(T) == 2) {
      return low;
    } else {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(low),
                                     _mm_set_epi64x(word(Constant<3>()), word(Constant<2>())), 1);
    }
  }
}
#endif

#if CAIRN_ISA_X86
// Four values of 2 or 4 bytes, kStride (at least 16) apart, side by side; the 16 bytes from each on are read.
template <class T, int kStride>
HWY_INLINE __m128i FourScalars(const uint8_t* p) {
  static_assert(kStride >= 16);
  const auto at = [&](int i) CAIRN_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * kStride));
  };
  if constexpr (sizeof(T) == 2) {
    return _mm_unpacklo_epi32(_mm_unpacklo_epi16(at(0), at(1)), _mm_unpacklo_epi16(at(2), at(3)));
  } else {
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(at(0), at(1)), _mm_unpacklo_epi32(at(2), at(3)));
  }
}
#endif

#if HWY_TARGET == HWY_AVX3
// Whether four blocks' halves lie in 64 bytes, and those in the eight blocks.
template <int kStride, int kCount, int kBytes>
constexpr bool kTwoLoads = kCount == kChunkGroups&& kStride % 2 == 0 && 3 * kStride + kBytes <= 64;

// Words kWord of eight blocks in the lower 16 bytes, words kWord + 1 in the next: two loads and a
// permutation.
template <int kStride>
HWY_INLINE __m512i PermuteWords(const uint8_t* p) {
  constexpr short w = kStride / 2;
  const __m512i pairs = _mm512_castsi256_si512(_mm256_setr_epi16(0, w, 2 * w, 3 * w, 32, 32 + w, 32 + 2 * w,
                                                                 32 + 3 * w, 1, w + 1, 2 * w + 1, 3 * w + 1,
                                                                 33, 33 + w, 33 + 2 * w, 33 + 3 * w));
  __asm__(
      ""
      : "+r"(p));  // or clang 14 takes the codes from these two loads, word by word, instead of loading them
  return _mm512_permutex2var_epi16(_mm512_loadu_si512(p), pairs, _mm512_loadu_si512(p + 4 * kStride));
}
#endif

// out[i] = the half at p + i · kStride for i < kCount; out has room for 8, the rest becomes 0.
template <int kStride, int kCount>
HWY_INLINE void LoadHalves(const uint8_t* p, float* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kTwoLoads<kStride, kCount, 2>) {
    _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm512_castsi512_si128(PermuteWords<kStride>(p))));
    return;
  }
#endif
#if CAIRN_ISA_X86
  if constexpr (kCount == kChunkGroups) {
    _mm256_storeu_ps(out,
                     _mm256_cvtph_ps(_mm_unpacklo_epi64(FourScalars<uint16_t, kStride>(p),
                                                        FourScalars<uint16_t, kStride>(p + 4 * kStride))));
  } else {
    _mm256_storeu_ps(out, _mm256_cvtph_ps(GatherScalars<uint16_t, kStride, kCount>(p)));
  }
#elif CAIRN_ISA_NEON
  if constexpr (kCount == 4) {
    // Each load moves the address on; the compiler would add to it before each.
    uint16x4_t halves;
    __asm__(
        "ldr %h0, [%1], %2\n\tld1 {%0.h}[1], [%1], %3\n\tld1 {%0.h}[2], [%1], %3\n\tld1 {%0.h}[3], [%1], %3"
        : "=&w"(halves), "+&r"(p)
        : "i"(kStride), "r"(long{kStride}));
    vst1q_f32(out, vcvt_f32_f16(vreinterpret_f16_u16(halves)));
    vst1q_f32(out + 4, vdupq_n_f32(0));
    return;
  }
  const auto four = [&](auto first) CAIRN_LAMBDA {
    uint16x4_t halves = vdup_n_u16(0);
    Unroll<0, 4>([&](auto i) CAIRN_LAMBDA {
      constexpr int kAt = decltype(first)::value + decltype(i)::value;
      if constexpr (kAt < kCount)
        halves = vld1_lane_u16(reinterpret_cast<const uint16_t*>(p + kAt * kStride), halves, i.value);
    });
    vst1q_f32(out + first.value, vcvt_f32_f16(vreinterpret_f16_u16(halves)));
  };
  four(Constant<0>());
  four(Constant<4>());
#else
  for (int i = 0; i < 8; ++i) out[i] = i < kCount ? LoadHalf(p + i * kStride) : 0;
#endif
}

// The same for pairs of halves: the second of each goes to `second`.
template <int kStride, int kCount>
HWY_INLINE void LoadHalfPairs(const uint8_t* p, float* HWY_RESTRICT first, float* HWY_RESTRICT second) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kTwoLoads<kStride, kCount, 4>) {
    const __m512 values = _mm512_cvtph_ps(_mm512_castsi512_si256(PermuteWords<kStride>(p)));
    _mm256_storeu_ps(first, _mm512_castps512_ps256(values));
    _mm256_storeu_ps(second, _mm512_extractf32x8_ps(values, 1));
    return;
  }
#endif
#if CAIRN_ISA_X86
  __m256i pairs;
  if constexpr (kCount == kChunkGroups) {
    pairs =
        _mm256_set_m128i(FourScalars<uint32_t, kStride>(p + 4 * kStride), FourScalars<uint32_t, kStride>(p));
  } else {
    pairs = GatherScalars<uint32_t, kStride, kCount>(p);
  }
  const __m256i apart = _mm256_shuffle_epi8(
      pairs,
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)));
  const __m256i halves = _mm256_permute4x64_epi64(apart, 0xD8);
  _mm256_storeu_ps(first, _mm256_cvtph_ps(_mm256_castsi256_si128(halves)));
  _mm256_storeu_ps(second, _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
#else
  LoadHalves<kStride, kCount>(p, first);
  LoadHalves<kStride, kCount>(p + 2, second);
#endif
}

#if CAIRN_ISA_X86
// out[i] = scale · bytes[i] for kCount bytes, 8 or 16, of type T (int8_t or uint8_t).
template <int kCount, class T>
HWY_INLINE void ScaleVector(__m128i bytes, float scale, float* HWY_RESTRICT out) {
  const hn::CappedTag<float, kCount> df;
  const hn::Rebind<int32_t, decltype(df)> di;
  const hn::Rebind<T, decltype(df)> d8;
  const auto store = [&](__m128i part, float* to) CAIRN_LAMBDA {
    const hn::Vec<decltype(d8)> values{part};
    hn::StoreU(hn::Mul(hn::Set(df, scale), hn::ConvertTo(df, hn::PromoteTo(di, values))), df, to);
  };
  store(bytes, out);
  if constexpr (kCount > hn::MaxLanes(df)) store(_mm_unpackhi_epi64(bytes, bytes), out + 8);
}
#endif

// The same for bytes in two words, lowest first; with kCount 8 for those in `low` only. Words, not memory: a
// load of what was just stored in pieces stalls.
template <int kCount, class T>
HWY_INLINE void ScaleBytes(uint64_t low, uint64_t high, float scale, float* HWY_RESTRICT out) {
#if CAIRN_ISA_X86
  ScaleVector<kCount, T>(_mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low)), scale, out);
#elif CAIRN_ISA_NEON
  const auto eight = [&](uint64_t word, float* to) CAIRN_LAMBDA {
    const auto store = [&](auto part, float* quarter)
                           CAIRN_LAMBDA { vst1q_f32(quarter, vmulq_n_f32(part, scale)); };
    if constexpr (std::is_same_v<T, uint8_t>) {
      const uint16x8_t wide = vmovl_u8(vcreate_u8(word));
      store(vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), to);
      store(vcvtq_f32_u32(vmovl_high_u16(wide)), to + 4);
    } else {
      const int16x8_t wide = vmovl_s8(vcreate_s8(word));
      store(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), to);
      store(vcvtq_f32_s32(vmovl_high_s16(wide)), to + 4);
    }
  };
  eight(low, out);
  if constexpr (kCount > 8) eight(high, out + 8);
#else
  const uint64_t words[2] = {low, high};
  T bytes[16];
  __builtin_memcpy(bytes, words, 16);
  for (int i = 0; i < kCount; ++i) out[i] = scale * static_cast<float>(bytes[i]);
#endif
}

// out[i] = step · (2 · nibble + 1) for kCount nibbles, 8 or 16, low ones first.
template <int kCount>
HWY_INLINE void ScaleNibbles(const uint8_t* p, float step, float* HWY_RESTRICT out) {
#if CAIRN_ISA_X86
  const __m128i bytes = kCount > 8 ? _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))
                                   : _mm_cvtsi32_si128(LoadScalar<int32_t>(p));
  const __m128i nibbles =
      _mm_and_si128(_mm_unpacklo_epi8(bytes, _mm_srli_epi16(bytes, 4)), _mm_set1_epi8(15));
  const __m128i odd = _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  ScaleVector<kCount, uint8_t>(_mm_shuffle_epi8(odd, nibbles), step, out);
#else
  const auto odd = [](uint64_t word) CAIRN_LAMBDA { return SpreadNibbles(word) << 1 | 0x0101010101010101; };
  const uint64_t high = kCount > 8 ? odd(LoadScalar<uint32_t>(p + 4)) : 0;
  ScaleBytes<kCount, uint8_t>(odd(LoadScalar<uint32_t>(p)), high, step, out);
#endif
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();

#if CAIRN_ISA_X86
#include "kernels/encodings/lanes_x86.hpp"
#elif CAIRN_ISA_NEON
#include "kernels/encodings/lanes_neon.hpp"
#else
#include "kernels/encodings/lanes_portable.hpp"
#endif
