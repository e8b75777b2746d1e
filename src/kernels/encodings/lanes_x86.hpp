// Codes of a step in a vector of AVX-512 or AVX2; included by lanes.hpp.
#pragma once

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

using StepCodes = VU8;
constexpr int kStepCodes = static_cast<int>(kVectorBytes);

HWY_INLINE StepCodes Or(StepCodes a, StepCodes b) {
  return hn::Or(a, b);
}

// Eight bytes of the bits that a shift to the right by `shift` (to the left when negative) brings to `bits`.
constexpr long long Before(uint8_t bits, int shift) {
  const auto byte = static_cast<uint8_t>(shift < 0 ? bits >> -shift : bits << shift);
  return static_cast<long long>(byte * 0x0101010101010101u);
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

// The pieces that piece(lane) makes, of 16 bytes, in a vector.
template <class Piece>
HWY_INLINE VU8 FromPieces(const Piece& piece) {
  const __m256i low = _mm256_set_m128i(piece(1), piece(0));
#if HWY_TARGET == HWY_AVX3
  return VU8{_mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_set_m128i(piece(3), piece(2)), 1)};
#else
  return VU8{low};
#endif
}

// Pieces of 16 bytes at p + kAt… in a vector.
#if HWY_TARGET == HWY_AVX3
template <int kAt, int kAt1, int kAt2, int kAt3>
HWY_INLINE VU8 LoadPieces(const uint8_t* p) {
  const auto piece = [&](int at)
                         CAIRN_LAMBDA { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + at)); };
  const auto two = [&](int at)
                       CAIRN_LAMBDA { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + at)); };
  if constexpr (kAt1 == kAt + 16 && kAt2 == kAt + 32 && kAt3 == kAt + 48) {
    return VU8{_mm512_loadu_si512(p + kAt)};
  } else if constexpr (kAt1 == kAt && kAt2 == kAt && kAt3 == kAt) {
    return VU8{_mm512_broadcast_i32x4(piece(kAt))};
  } else if constexpr (kAt1 == kAt + 16 && kAt3 == kAt1 && kAt2 == kAt) {
    return VU8{_mm512_broadcast_i64x4(two(kAt))};
  } else if constexpr (kAt1 == kAt + 16 && kAt3 == kAt2 + 16) {
    return VU8{_mm512_inserti64x4(_mm512_castsi256_si512(two(kAt)), two(kAt2), 1)};
  } else if constexpr (kAt1 == kAt && kAt3 == kAt2) {
    return VU8{_mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(piece(kAt)), 0xFF00, piece(kAt2))};
  } else {
    __m512i v = _mm512_castsi128_si512(piece(kAt));
    v = _mm512_mask_broadcast_i32x4(v, 0x00F0, piece(kAt1));
    v = _mm512_mask_broadcast_i32x4(v, 0x0F00, piece(kAt2));
    return VU8{_mm512_mask_broadcast_i32x4(v, 0xF000, piece(kAt3))};
  }
}
#else
template <int kAt, int kAt1>
HWY_INLINE VU8 LoadPieces(const uint8_t* p) {
  const auto piece = [&](int at)
                         CAIRN_LAMBDA { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + at)); };
  if constexpr (kAt1 == kAt) {
    return hn::LoadDup128(DU8(), p + kAt);
  } else if constexpr (kAt1 == kAt + 16) {
    return hn::LoadU(DU8(), p + kAt);
  } else {
    return VU8{_mm256_inserti128_si256(_mm256_castsi128_si256(piece(kAt)), piece(kAt1), 1)};
  }
}
#endif

// Bits kMask of each byte after a shift to the right (left when negative) by as many bits as a piece's
// argument says.
#if HWY_TARGET == HWY_AVX3
template <uint8_t kMask, int kShift, int kShift1, int kShift2, int kShift3>
HWY_INLINE VU8 ShiftPieces(VU8 v) {
  const auto pieces = [](long long a, long long b, long long c, long long d)
                          CAIRN_LAMBDA { return _mm512_set_epi64(d, d, c, c, b, b, a, a); };
  const VU8 mask = hn::Set(DU8(), kMask);
  if constexpr (kShift == kShift1 && kShift == kShift2 && kShift == kShift3) {
    return hn::And(ShiftBytes<kShift>(v), mask);
  } else if constexpr (kShift >= 0 && kShift1 >= 0 && kShift2 >= 0 && kShift3 >= 0) {
    return hn::And(VU8{_mm512_srlv_epi64(v.raw, pieces(kShift, kShift1, kShift2, kShift3))}, mask);
  } else if constexpr (kShift <= 0 && kShift1 <= 0 && kShift2 <= 0 && kShift3 <= 0) {
    return hn::And(VU8{_mm512_sllv_epi64(v.raw, pieces(-kShift, -kShift1, -kShift2, -kShift3))}, mask);
  } else {
    static_assert((kMask & (kMask - 1)) == 0, "one bit, or shifts to one side");
    const __m512i bits =
        pieces(Before(kMask, kShift), Before(kMask, kShift1), Before(kMask, kShift2), Before(kMask, kShift3));
    return VU8{_mm512_maskz_mov_epi8(_mm512_test_epi8_mask(v.raw, bits), mask.raw)};
  }
}
#else
template <uint8_t kMask, int kShift, int kShift1>
HWY_INLINE VU8 ShiftPieces(VU8 v) {
  const auto pieces = [](long long a, long long b) CAIRN_LAMBDA { return _mm256_set_epi64x(b, b, a, a); };
  const VU8 mask = hn::Set(DU8(), kMask);
  if constexpr (kShift == kShift1) {
    return hn::And(ShiftBytes<kShift>(v), mask);
  } else if constexpr (kShift >= 0 && kShift1 >= 0) {
    return hn::And(VU8{_mm256_srlv_epi64(v.raw, pieces(kShift, kShift1))}, mask);
  } else if constexpr (kShift <= 0 && kShift1 <= 0) {
    return hn::And(VU8{_mm256_sllv_epi64(v.raw, pieces(-kShift, -kShift1))}, mask);
  } else {
    static_assert((kMask & (kMask - 1)) == 0, "one bit, or shifts to one side");
    const __m256i bits = pieces(Before(kMask, kShift), Before(kMask, kShift1));
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(v.raw, bits), bits);
    return hn::And(VU8{set}, mask);
  }
}
#endif

// f<lane 0's value, …> for a step's pieces.
#if HWY_TARGET == HWY_AVX3
#define CAIRN_PIECES(value) value(0), value(1), value(2), value(3)
#else
#define CAIRN_PIECES(value) value(0), value(1)
#endif

// A bit field of the codes of a K-quant block, which keeps the 32 codes of group g in the bytes
// [Field::Offset(g), +32), Field::Shift(g) bits up (a negative shift moves the field up instead).
template <class Field, class Lanes>
HWY_INLINE VU8 LoadField(const uint8_t* block) {
#define CAIRN_AT(lane) Field::Offset(Lanes::Group(lane)) + 16 * Lanes::Half(lane)
#define CAIRN_SHIFT(lane) Field::Shift(Lanes::Group(lane))
#if HWY_TARGET == HWY_AVX3
  constexpr int kFirst = Field::Offset(Lanes::Group(0));
  if constexpr (Lanes::Half(0) == Lanes::Half(1) && Field::Offset(Lanes::Group(1)) == kFirst + 32 &&
                Field::Offset(Lanes::Group(2)) == kFirst + 64 &&
                Field::Offset(Lanes::Group(3)) == kFirst + 96) {
    // Groups whole, so that both halves' vectors share the loads.
    const __m512i pieces =
        _mm512_shuffle_i32x4(_mm512_loadu_si512(block + kFirst), _mm512_loadu_si512(block + kFirst + 64),
                             Lanes::Half(0) == 0 ? 0x88 : 0xDD);
    return ShiftPieces<Field::kMask, CAIRN_PIECES(CAIRN_SHIFT)>(VU8{pieces});
  }
#endif
  return ShiftPieces<Field::kMask, CAIRN_PIECES(CAIRN_SHIFT)>(LoadPieces<CAIRN_PIECES(CAIRN_AT)>(block));
#undef CAIRN_AT
#undef CAIRN_SHIFT
}

// 4-bit codes of groups stored as 16 bytes each, `kStride` apart: low nibbles are the first 16 codes, high
// nibbles the last.
template <int kStride, class Lanes>
HWY_INLINE VU8 LoadNibbles(const uint8_t* first) {
#define CAIRN_AT(lane) Lanes::Group(lane) * kStride
#define CAIRN_SHIFT(lane) 4 * Lanes::Half(lane)
  return ShiftPieces<15, CAIRN_PIECES(CAIRN_SHIFT)>(LoadPieces<CAIRN_PIECES(CAIRN_AT)>(first));
#undef CAIRN_AT
#undef CAIRN_SHIFT
}

// Codes of one byte each, groups `kStride` apart.
template <int kStride, class Lanes>
HWY_INLINE VU8 LoadGroups(const uint8_t* first) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (Lanes::Half(0) == Lanes::Half(1)) {
    // Groups whole, so that both halves' vectors share the loads.
    const auto two = [&](int a, int b) CAIRN_LAMBDA {
      const auto at = [&](int lane) CAIRN_LAMBDA {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + Lanes::Group(lane) * kStride));
      };
      return _mm512_inserti64x4(_mm512_castsi256_si512(at(a)), at(b), 1);
    };
    return VU8{_mm512_shuffle_i32x4(two(0, 1), two(2, 3), Lanes::Half(0) == 0 ? 0x88 : 0xDD)};
  }
#endif
#define CAIRN_AT(lane) Lanes::Group(lane) * kStride + 16 * Lanes::Half(lane)
  return LoadPieces<CAIRN_PIECES(CAIRN_AT)>(first);
#undef CAIRN_AT
}

// Adds bit 4 to codes whose fifth bits are 32-bit words `kStride` apart, one word a group, lowest bit first;
// 16 bytes from each word on are read.
template <int kStride, class Lanes>
HWY_INLINE VU8 AddFifthBits(VU8 codes, const uint8_t* first) {
#if HWY_TARGET == HWY_AVX3
  // Two groups' words side by side; of each the half that the lane holds.
  const auto bits = [&](int lane) CAIRN_LAMBDA {
    const uint64_t other = LoadScalar<uint32_t>(first + Lanes::Group(lane + 1) * kStride);
    return LoadScalar<uint32_t>(first + Lanes::Group(lane) * kStride) | other << 32;
  };
  uint64_t low, high;
  if constexpr (Lanes::Half(0) == Lanes::Half(1)) {
    constexpr uint64_t kHalf = uint64_t{0x0000FFFF0000FFFF} << 16 * Lanes::Half(0);
    low = _pext_u64(bits(0), kHalf);
    high = _pext_u64(bits(2), kHalf);
  } else {
    low = LoadScalar<uint32_t>(first + Lanes::Group(0) * kStride);  // both halves of a group in two lanes
    high = LoadScalar<uint32_t>(first + Lanes::Group(2) * kStride);
  }
  return VU8{
      _mm512_mask_add_epi8(codes.raw, _cvtu64_mask64(low | high << 32), codes.raw, _mm512_set1_epi8(16))};
#else
#define CAIRN_AT(lane) Lanes::Group(lane) * kStride
  const VU8 all = LoadPieces<CAIRN_PIECES(CAIRN_AT)>(first);  // a group's word first in its piece
#undef CAIRN_AT
  const auto bytes = [](int half) CAIRN_LAMBDA {
    return half == 0 ? _mm_set_epi64x(0x0101010101010101, 0)
                     : _mm_set_epi64x(0x0303030303030303, 0x0202020202020202);
  };
  const __m256i byte =
      _mm256_shuffle_epi8(all.raw, _mm256_set_m128i(bytes(Lanes::Half(1)), bytes(Lanes::Half(0))));
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(byte, bit), bit);
  return VU8{_mm256_or_si256(codes.raw, _mm256_and_si256(set, _mm256_set1_epi8(16)))};
#endif
}

// 4-bit codes of groups stored as two times 8 bytes each, 16 for each group in blocks of two that are kStride
// apart: low nibbles are the first 8 codes of a half.
template <int kStride, class Lanes>
HWY_INLINE VU8 LoadHalfNibbles(const uint8_t* first) {
  const hn::Repartition<uint64_t, DU8> d64;
  alignas(16) static constexpr uint64_t kShifts[2] = {0, 4};
  const VU8 pairs = FromPieces([&](int lane) CAIRN_LAMBDA {
    const int g = Lanes::Group(lane);
    return _mm_set1_epi64x(LoadScalar<int64_t>(first + g / 2 * kStride + g % 2 * 16 + Lanes::Half(lane) * 8));
  });
  const auto nibbles = hn::Shr(hn::BitCast(d64, pairs), hn::LoadDup128(d64, kShifts));
  return hn::And(hn::BitCast(DU8(), nibbles), hn::Set(DU8(), 15));
}

// table[codes], codes in [0, 15]; the table has 16 bytes.
HWY_INLINE VU8 LookUp(const int8_t* table, VU8 codes) {
  const DU8 d;
  return hn::TableLookupBytes(hn::LoadDup128(d, reinterpret_cast<const uint8_t*>(table)), codes);
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
