// Codes of a step in a vector of AVX-512 or AVX2; included by lanes.hpp.
#pragma once

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

using StepCodes = VU8;
constexpr int kStepCodes = static_cast<int>(kVectorBytes);

HWY_INLINE StepCodes Or(StepCodes a, StepCodes b) {
  return hn::Or(a, b);
}

// Shifts bytes right (left when negative); bits that cross into a neighbour are the caller's to mask.
template <int kShift>
HWY_INLINE VU8 ShiftBytes(VU8 v) {
  const DU16 d16;
  if constexpr (kShift > 0) {
    return hn::BitCast(DU8(), hn::ShiftRight<kShift>(hn::BitCast(d16, v)));
  } else if constexpr (kShift < 0) {
    return hn::BitCast(DU8(), hn::ShiftLeft<-kShift>(hn::BitCast(d16, v)));
  } else {
    return v;
  }
}

#if HWY_TARGET == HWY_AVX3
// The same with one shift for the lower half and another for the upper.
template <int kLower, int kUpper>
HWY_INLINE VU8 ShiftHalves(VU8 v) {
  static_assert((kLower >= 0 && kUpper >= 0) || (kLower <= 0 && kUpper <= 0));
  constexpr int kLow = kLower < 0 ? -kLower : kLower, kHigh = kUpper < 0 ? -kUpper : kUpper;
  if constexpr (kLower == kUpper) {
    return ShiftBytes<kLower>(v);
  } else {
    const __m512i count = _mm512_inserti64x4(_mm512_set1_epi16(kLow), _mm256_set1_epi16(kHigh), 1);
    if constexpr (kLower > 0 || kUpper > 0) {
      return VU8{_mm512_srlv_epi16(v.raw, count)};
    } else {
      return VU8{_mm512_sllv_epi16(v.raw, count)};
    }
  }
}
#endif

// A bit field of the codes of a K-quant block, which keeps the 32 codes of group g in the bytes
// [Field::Offset(g), +32), Field::Shift(g) bits up (a negative shift moves the field up instead).
template <class Field, int kStep>
HWY_INLINE VU8 LoadField(const uint8_t* block) {
  const DU8 d;
  const VU8 mask = hn::Set(d, Field::kMask);
#if HWY_TARGET == HWY_AVX3
  constexpr int kEven = Field::Offset(2 * kStep), kOdd = Field::Offset(2 * kStep + 1);
  static_assert(kOdd == kEven || kOdd == kEven + kGroupSize);
  VU8 v;
  if constexpr (kOdd == kEven) {
    v = VU8{_mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kEven)))};
  } else {
    v = hn::LoadU(d, block + kEven);
  }
  return hn::And(ShiftHalves<Field::Shift(2 * kStep), Field::Shift(2 * kStep + 1)>(v), mask);
#else
  return hn::And(ShiftBytes<Field::Shift(kStep)>(hn::LoadU(d, block + Field::Offset(kStep))), mask);
#endif
}

// 4-bit codes of groups stored as 16 bytes each, `kStride` apart: low nibbles are the first 16 codes, high
// nibbles the last. Of a chunk of one group a 64-byte step repeats it.
template <int kStride, int kStep, int kCount>
HWY_INLINE VU8 LoadNibbles(const uint8_t* first) {
  const DU8 d;
  const VU8 mask = hn::Set(d, 15);
#if HWY_TARGET == HWY_AVX3
  constexpr int kOdd = 2 * kStep + 1 < kCount ? 2 * kStep + 1 : kCount - 1;
  const auto load = [&](int group) CAIRN_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + group * kStride));
  };
  const __m512i v = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load(2 * kStep)), 0xFF00, load(kOdd));
  const __m512i count = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0);
  return hn::And(VU8{_mm512_srlv_epi64(v, count)}, mask);
#else
  const VU8 v = hn::LoadDup128(d, first + kStep * kStride);
  return hn::And(VU8{_mm256_srlv_epi64(v.raw, _mm256_set_epi64x(4, 4, 0, 0))}, mask);
#endif
}

// Codes of one byte each, groups `kStride` apart.
template <int kStride, int kStep, int kCount>
HWY_INLINE VU8 LoadGroups(const uint8_t* first) {
#if HWY_TARGET == HWY_AVX3
  constexpr int kOdd = 2 * kStep + 1 < kCount ? 2 * kStep + 1 : kCount - 1;
  const auto load = [&](int group) CAIRN_LAMBDA {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + group * kStride));
  };
  return VU8{_mm512_inserti64x4(_mm512_castsi256_si512(load(2 * kStep)), load(kOdd), 1)};
#else
  return hn::LoadU(DU8(), first + kStep * kStride);
#endif
}

// Adds bit 4 to codes whose fifth bits are 32-bit words `kStride` apart, one word a group, lowest bit first.
template <int kStride, int kStep, int kCount>
HWY_INLINE VU8 AddFifthBits(VU8 codes, const uint8_t* first) {
#if HWY_TARGET == HWY_AVX3
  constexpr int kOdd = 2 * kStep + 1 < kCount ? 2 * kStep + 1 : kCount - 1;
  const uint64_t bits = LoadScalar<uint32_t>(first + 2 * kStep * kStride) |
                        static_cast<uint64_t>(LoadScalar<uint32_t>(first + kOdd * kStride)) << 32;
  return VU8{_mm512_mask_add_epi8(codes.raw, _cvtu64_mask64(bits), codes.raw, _mm512_set1_epi8(16))};
#else
  const __m256i word = _mm256_set1_epi32(LoadScalar<int32_t>(first + kStep * kStride));
  const __m256i byte = _mm256_shuffle_epi8(
      word, _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0));
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(byte, bit), bit);
  return VU8{_mm256_or_si256(codes.raw, _mm256_and_si256(set, _mm256_set1_epi8(16)))};
#endif
}

// table[codes], codes in [0, 15]; the table has 16 bytes.
HWY_INLINE VU8 LookUp(const int8_t* table, VU8 codes) {
  const DU8 d;
  return hn::TableLookupBytes(hn::LoadDup128(d, reinterpret_cast<const uint8_t*>(table)), codes);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
