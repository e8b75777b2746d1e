// Grids by permutations of vectors, for AVX-512: a point's number looks up a word of 16 bits that holds two
// or three bits for each code; they are spread to bytes, and the bytes look up the values. Included by
// grid_x86.hpp.
#pragma once

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// table[index], 1 << kBits words; upper[b]: bit 6 + b of the indices. Bits above kBits are ignored.
template <int kBits>
HWY_INLINE __m512i LookUpWords(const uint16_t* table, __m512i index, const __mmask32* upper) {
  if constexpr (kBits == 6) {
    return _mm512_permutex2var_epi16(_mm512_load_si512(table), index, _mm512_load_si512(table + 32));
  } else {
    constexpr int kHalf = 1 << (kBits - 1);
    return _mm512_mask_blend_epi16(upper[kBits - 7], LookUpWords<kBits - 1>(table, index, upper),
                                   LookUpWords<kBits - 1>(table + kHalf, index, upper));
  }
}

#if CAIRN_HAS_VBMI
// table[index], 1 << kBits bytes; upper[b]: bit 7 + b of the indices.
template <int kBits>
HWY_INLINE __m512i LookUpBytes(const uint8_t* table, __m512i index, const __mmask64* upper) {
  if constexpr (kBits == 7) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), index, _mm512_load_si512(table + 64));
  } else {
    constexpr int kHalf = 1 << (kBits - 1);
    return _mm512_mask_blend_epi8(upper[kBits - 8], LookUpBytes<kBits - 1>(table, index, upper),
                                  LookUpBytes<kBits - 1>(table + kHalf, index, upper));
  }
}
#endif

HWY_INLINE __mmask32 TestBits(__m512i v, int bit) {
  return _mm512_test_epi16_mask(v, _mm512_set1_epi16(static_cast<short>(1 << bit)));
}

// A block's signs, a bit for each code, as the steps of Lanes want them: kSubscales says whose.
template <int kSubscales>
struct SignMasks {
  HWY_INLINE explicit SignMasks(EightBytes signs) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(in_order), signs);
    if constexpr (kSubscales == 1) {
      // Those of Apart<set, half, 8>: shorts 2 · set + half + 4 · lane.
      const __m256i order = _mm256_setr_epi16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      _mm256_store_si256(reinterpret_cast<__m256i*>(apart), _mm256_permutexvar_epi16(order, signs));
    }
  }
  template <class Lanes>
  HWY_INLINE __mmask64 Of() const {
    const uint64_t* at = in_order + Lanes::Group(0) / 2;
    if constexpr (Lanes::Half(0) == Lanes::Half(1)) {
      static_assert(kSubscales == 1 && Lanes::Group(1) == Lanes::Group(0) + 2 &&
                    Lanes::Group(3) == Lanes::Group(0) + 6);
      at = apart + 2 * Lanes::Group(0) + Lanes::Half(0);
    }
    __asm__("" : "+r"(at) : "m"(*this));  // a mask comes from memory faster than by way of a general register
    return _cvtu64_mask64(*at);
  }
  alignas(32) uint64_t in_order[4], apart[kSubscales == 1 ? 4 : 1];
};

// The values that codes' numbers stand for, kZero more; and where negative, kZero − the value.
template <int kZero>
HWY_INLINE VU8 LookUpValues(const uint8_t* values, __m512i numbers, __mmask64 negative) {
  const __m512i table = _mm512_add_epi8(_mm512_broadcast_i32x4(Load16(values)), _mm512_set1_epi8(kZero));
#if CAIRN_HAS_VBMI
  const __m512i positive = _mm512_permutexvar_epi8(numbers, table);  // heeds six bits
#else
  const __m512i positive = _mm512_shuffle_epi8(table, numbers);
#endif
  return VU8{
      _mm512_mask_sub_epi8(positive, negative, _mm512_set1_epi8(static_cast<char>(2 * kZero)), positive)};
}

// Points of eight codes, one for each word.
struct PointWords8 {
  template <class Lanes>
  HWY_INLINE __m512i Numbers() const {
    struct Order {
      alignas(64) uint16_t word[32];
      constexpr Order() : word() {
        for (int i = 0; i < 32; ++i)
          word[i] = static_cast<uint16_t>(4 * Lanes::Group(i / 8) + 2 * Lanes::Half(i / 8) + i % 8 / 4);
      }
    };
    static constexpr Order kOrder;
    const __m512i four = _mm512_permutexvar_epi16(_mm512_load_si512(kOrder.word), words);
#if CAIRN_HAS_VBMI
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0E060C040A020800), four);
#else
    return _mm512_and_si512(_mm512_srlv_epi16(four, _mm512_set1_epi64(0x0006000400020000)),
                            _mm512_set1_epi16(0x0303));
#endif
  }
  __m512i words;
};

// Points of four codes: of the block's even groups, and of the odd ones. LookUp: 64 numbers, their lower 8
// bits at p; high: a ninth of each, where there are more than 256 points.
struct PointWords4 {
  template <class Lanes>
  HWY_INLINE __m512i Numbers() const {
    __m512i two;
    if constexpr (Lanes::Half(0) == Lanes::Half(1)) {
      static_assert(Lanes::Group(0) < 2 && Lanes::Group(1) == Lanes::Group(0) + 2);
      const __m512i words = Lanes::Group(0) == 0 ? even : odd;
      two = Lanes::Half(0) == 0 ? _mm512_unpacklo_epi16(words, words) : _mm512_unpackhi_epi16(words, words);
    } else {
      struct Order {
        alignas(64) uint16_t word[32];
        constexpr Order() : word() {
          for (int i = 0; i < 32; ++i) {
            const int g = Lanes::Group(i / 8), at = g / 2 * 8 + Lanes::Half(i / 8) * 4 + i % 8 / 2;
            word[i] = static_cast<uint16_t>(at + g % 2 * 32);
          }
        }
      };
      static constexpr Order kOrder;
      two = _mm512_permutex2var_epi16(even, _mm512_load_si512(kOrder.word), odd);
    }
    // Bits 3 and 7 of each byte are 0: look-ups heed no others but the lowest three.
    return _mm512_srlv_epi16(two, _mm512_set1_epi32(0x00040000));
  }
#if CAIRN_HAS_VBMI
  template <size_t kPoints>
  HWY_INLINE void LookUp(const Grid<kPoints, 4>& grid, const uint8_t* p, uint64_t high) {
    const __m512i index = _mm512_loadu_si512(p);
    const __mmask64 upper[2] = {_mm512_movepi8_mask(index), _cvtu64_mask64(high)};
    constexpr int kBits = kPoints == 256 ? 8 : 9;
    const __m512i low = LookUpBytes<kBits>(grid.low, index, upper);
    const __m512i all = LookUpBytes<kBits>(grid.high, index, upper);
    even = _mm512_unpacklo_epi8(low, all);
    odd = _mm512_unpackhi_epi8(low, all);
  }
#else
  template <size_t kPoints>
  HWY_INLINE void LookUp(const Grid<kPoints, 4>& grid, const uint8_t* p, uint64_t high) {
    const __m512i index = _mm512_loadu_si512(p), zero = _mm512_setzero_si512();
    const auto look_up = [&](__m512i words, uint64_t groups) CAIRN_LAMBDA {
      __mmask32 upper[3] = {TestBits(words, 6), TestBits(words, 7)};
      if constexpr (kPoints > 256) upper[2] = _cvtu32_mask32(static_cast<uint32_t>(_pext_u64(high, groups)));
      return LookUpWords<(kPoints > 256 ? 9 : 8)>(grid.words, words, upper);
    };
    even = look_up(_mm512_unpacklo_epi8(index, zero), 0x00FF00FF00FF00FF);
    odd = look_up(_mm512_unpackhi_epi8(index, zero), 0xFF00FF00FF00FF00);
  }
#endif
  __m512i even, odd;
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
