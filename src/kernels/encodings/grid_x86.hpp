// Parts of the IQ encodings in vectors; included by grid.hpp. What belongs to a block of 256 codes fits 32
// bytes and is made with 256-bit vectors on AVX-512 too.
#pragma once

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// A byte for each eight codes of a block.
using EightBytes = __m256i;
// A word for each group of a block.
using GroupWords = __m256i;

HWY_INLINE __m256i Load32(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
HWY_INLINE __m128i Load16(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// Their lower half at p, their upper at q.
HWY_INLINE EightBytes LoadEightBytes(const uint8_t* p, const uint8_t* q) {
  return _mm256_set_m128i(Load16(q), Load16(p));
}
HWY_INLINE EightBytes LoadEightBytes(const uint8_t* p) {
  return Load32(p);
}

// Words kStride bytes apart, 4 or (the second of each pair) 8; 8 · kStride bytes are read.
template <int kStride>
HWY_INLINE GroupWords LoadWords(const uint8_t* p) {
  static_assert(kStride == 4 || kStride == 8);
  if constexpr (kStride == 4) return Load32(p);
  const __m256 a = _mm256_castsi256_ps(Load32(p)), b = _mm256_castsi256_ps(Load32(p + 32));
  return _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8);
}

// out[g] = step · (2 · (word >> 28) + 1)
HWY_INLINE void ScaleWords(GroupWords words, float step, float* HWY_RESTRICT out) {
  const __m256i odd =
      _mm256_or_si256(_mm256_slli_epi32(_mm256_srli_epi32(words, 28), 1), _mm256_set1_epi32(1));
  _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(step), _mm256_cvtepi32_ps(odd)));
}

// Permutations of bytes, and products of matrices of bits.
#if defined(__AVX512VBMI__) && defined(__GFNI__)
#define CAIRN_HAS_VBMI 1
#else
#define CAIRN_HAS_VBMI 0
#endif

// Bytes of seven bits (with VBMI whatever the eighth is), and above them their parity.
HWY_INLINE EightBytes WithParity(__m256i v) {
#if CAIRN_HAS_VBMI
  // A product of bits: a row of the matrix for each bit, that of the lowest last.
  return _mm256_gf2p8affine_epi64_epi8(v, _mm256_set1_epi64x(0x010204081020407F), 0);
#else
  const __m256i parity = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m256i folded = _mm256_and_si256(_mm256_xor_si256(v, _mm256_srli_epi16(v, 4)), _mm256_set1_epi8(15));
  return _mm256_or_si256(v, _mm256_shuffle_epi8(parity, folded));
#endif
}

// Signs of four times seven bits a word.
HWY_INLINE EightBytes SignsOfWords(GroupWords words) {
#if CAIRN_HAS_VBMI
  return WithParity(_mm256_multishift_epi64_epi8(_mm256_set1_epi64x(0x352E2720150E0700), words));
#else
  const auto byte = [&](__m256i v, int bits)
                        CAIRN_LAMBDA { return _mm256_and_si256(v, _mm256_set1_epi32(bits)); };
  const __m256i low = _mm256_or_si256(byte(words, 0x7F), byte(_mm256_slli_epi32(words, 1), 0x7F00));
  const __m256i high = _mm256_or_si256(byte(_mm256_slli_epi32(words, 2), 0x7F0000),
                                       byte(_mm256_slli_epi32(words, 3), 0x7F000000));
  return WithParity(_mm256_or_si256(low, high));
#endif
}

// Signs in the upper seven bits of 32 shorts.
HWY_INLINE EightBytes SignsOfShorts(const uint8_t* p) {
  const __m256i a = _mm256_srli_epi16(Load32(p), 9), b = _mm256_srli_epi16(Load32(p + 32), 9);
  return WithParity(_mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xD8));
}

// −1 for each eight i whose bits Bits::Mask(i) of p[Bits::Byte(i)] are set, else 1; 16 bytes are read.
template <class Bits>
HWY_INLINE EightBytes MinusOrPlusOne(const uint8_t* p) {
  struct Tables {
    alignas(32) uint8_t byte[32], mask[32];
    constexpr Tables() : byte(), mask() {
      for (int i = 0; i < 32; ++i) {
        byte[i] = static_cast<uint8_t>(Bits::Byte(i));
        mask[i] = static_cast<uint8_t>(Bits::Mask(i));
      }
    }
  };
  static constexpr Tables kTables;
  const __m256i mask = Load32(kTables.mask);
  const __m256i v = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(Load16(p)), Load32(kTables.byte));
  return _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_and_si256(v, mask), mask), _mm256_set1_epi8(1));
}

// index[i] = low[i] and above its eight bits Field::kBits more: those of the T at high[i / Field::kEach] that
// begin at bit Field::kStep · (i % Field::kEach).
template <class T, class Field, int kCount>
HWY_INLINE void JoinIndices(const uint8_t* low, const uint8_t* high, uint16_t (&index)[kCount]) {
  constexpr int kEach = Field::kEach, kHighBytes = kCount / kEach * static_cast<int>(sizeof(T));
  // Each field's lowest bit comes to bit kUp by a multiplication, then to bit 8.
  constexpr int kUp = Field::kStep * (kEach - 1) <= 8 ? 8 : 9;
  static_assert(Field::kStep * (kEach - 1) <= kUp && (kHighBytes == 8 || kHighBytes == 16));
  struct Tables {
    alignas(32) uint8_t byte[kCount / 16][32];
    alignas(32) uint16_t factor[16];
    constexpr Tables() : byte(), factor() {
      for (int i = 0; i < kCount; ++i) {
        uint8_t* to = byte[i / 16] + 2 * (i % 16);
        to[0] = static_cast<uint8_t>(i / kEach * static_cast<int>(sizeof(T)));
        to[1] = sizeof(T) == 1 ? 0x80 : static_cast<uint8_t>(to[0] + 1);
        factor[i % 16] = static_cast<uint16_t>(1 << (kUp - Field::kStep * (i % kEach)));
      }
    }
  };
  static constexpr Tables kTables;
  const __m256i factor = _mm256_load_si256(reinterpret_cast<const __m256i*>(kTables.factor));
  const __m256i mask = _mm256_set1_epi16(static_cast<short>(((1 << Field::kBits) - 1) << kUp));
  const __m256i all = kHighBytes == 8 ? _mm256_set1_epi64x(LoadScalar<int64_t>(high))
                                      : _mm256_broadcastsi128_si256(Load16(high));
  Unroll<0, kCount / 16>([&](auto i) CAIRN_LAMBDA {
    constexpr int kPart = decltype(i)::value;
    const __m256i fields = _mm256_shuffle_epi8(all, Load32(kTables.byte[kPart]));
    __m256i upper = _mm256_and_si256(_mm256_mullo_epi16(fields, factor), mask);
    if constexpr (kUp == 9) upper = _mm256_srli_epi16(upper, 1);
    _mm256_store_si256(reinterpret_cast<__m256i*>(index + 16 * kPart),
                       _mm256_or_si256(upper, _mm256_cvtepu8_epi16(Load16(low + 16 * kPart))));
  });
}

// Each eight's byte to its codes.
template <class Lanes>
HWY_INLINE VU8 Spread(EightBytes v) {
  constexpr auto byte = [](int lane, int i) {
    return static_cast<long long>(
        0x0101010101010101u * static_cast<unsigned>(Lanes::Group(lane) % 4 * 4 + Lanes::Half(lane) * 2 + i));
  };
#if HWY_TARGET == HWY_AVX3
  constexpr int kFrom =
      Lanes::Group(0) / 4 | Lanes::Group(1) / 4 << 2 | Lanes::Group(2) / 4 << 4 | Lanes::Group(3) / 4 << 6;
  const __m512i wide = _mm512_castsi256_si512(v);
  return VU8{_mm512_shuffle_epi8(_mm512_shuffle_i32x4(wide, wide, kFrom),
                                 _mm512_set_epi64(byte(3, 1), byte(3, 0), byte(2, 1), byte(2, 0), byte(1, 1),
                                                  byte(1, 0), byte(0, 1), byte(0, 0)))};
#else
  constexpr int kFirst = Lanes::Group(0) / 4 * 2, kSecond = Lanes::Group(1) / 4 * 2;
  if constexpr (kFirst != 0 || kSecond != 2)
    v = _mm256_permute4x64_epi64(v, kFirst | (kFirst + 1) << 2 | kSecond << 4 | (kSecond + 1) << 6);
  return VU8{_mm256_shuffle_epi8(v, _mm256_set_epi64x(byte(1, 1), byte(1, 0), byte(0, 1), byte(0, 0)))};
#endif
}

// 0xFF for each code whose bit in its eight's byte is set, else 0; the first code's is the lowest.
template <class Lanes>
HWY_INLINE VU8 SpreadBits(EightBytes v) {
  const DU8 d;
  const VU8 bit = hn::BitCast(d, hn::Set(hn::Repartition<uint64_t, DU8>(), 0x8040201008040201));
  return hn::VecFromMask(d, hn::TestBit(Spread<Lanes>(v), bit));
}

// kCount numbers of points, T each, their bits above kPoints ignored. Each is an instruction of general
// registers: a load for each, or one out of a vector, would take turns with those that fetch the points.
template <class T, int kCount, size_t kPoints>
struct Numbers {
  HWY_INLINE explicit Numbers(const uint8_t* from) {
    __builtin_memcpy(&bits, from, sizeof(T) * kCount);
    __asm__("" : "+r"(bits));  // or the compiler loads each by itself
  }
  HWY_INLINE size_t operator[](int i) const {
    const Bits from = bits >> (8 * static_cast<int>(sizeof(T)) * i);
    return i + 1 == kCount && kPoints >> (8 * sizeof(T)) != 0 ? from : from & (kPoints - 1);
  }
  using Bits = std::conditional_t<sizeof(T) * kCount == 8, uint64_t, uint32_t>;
  Bits bits = 0;
};

// The points of a grid; pair(i)[0] and [1] are the numbers of the block's i-th and the next.
template <class Lanes, size_t kPoints, class Pair>
HWY_INLINE VU8 FromPairs(const Grid<kPoints, 8>& grid, const Pair& pair) {
  return FromPieces([&](int lane) CAIRN_LAMBDA {
    const auto number = pair(4 * Lanes::Group(lane) + 2 * Lanes::Half(lane));
    const auto point = [&](int i)
                           CAIRN_LAMBDA { return reinterpret_cast<const __m64*>(grid.points[number[i]]); };
    // The upper half is loaded in place.
    const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(point(0))));
    return _mm_castps_si128(_mm_loadh_pi(low, point(1)));
  });
}

// The points of a grid; the number of the block's i-th is the T at at(i).
template <class T, class Lanes, size_t kPoints, class At>
HWY_INLINE VU8 FromGrid(const Grid<kPoints, 8>& grid, const At& at) {
  return FromPairs<Lanes>(grid, [&](int i) CAIRN_LAMBDA { return Numbers<T, 2, kPoints>(at(i)); });
}
template <class T, class Lanes, size_t kPoints, class At>
HWY_INLINE VU8 FromGrid(const Grid<kPoints, 4>& grid, const At& at) {
  return FromPieces([&](int lane) CAIRN_LAMBDA {
    const Numbers<T, 4, kPoints> number(at(8 * Lanes::Group(lane) + 4 * Lanes::Half(lane)));
    const auto point = [&](int i) CAIRN_LAMBDA { return LoadScalar<int32_t>(grid.points[number[i]]); };
    return _mm_set_epi32(point(3), point(2), point(1), point(0));
  });
}

// kZero + codes, or kZero − codes where `negative` is 0xFF.
template <int kZero>
HWY_INLINE VU8 AroundZero(VU8 codes, VU8 negative) {
  return hn::Add(hn::Sub(hn::Xor(codes, negative), negative), hn::Set(DU8(), kZero));
}
HWY_INLINE VU8 Add(VU8 a, VU8 b) {
  return hn::Add(a, b);
}
HWY_INLINE VU8 And(VU8 a, uint8_t bits) {
  return hn::And(a, hn::Set(DU8(), bits));
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();

#if HWY_TARGET == HWY_AVX3
#include "kernels/encodings/grid_avx512.hpp"
#endif
