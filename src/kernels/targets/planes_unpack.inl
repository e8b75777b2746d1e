// Part of planes.cpp: the weights of bit planes, a vector of codes at a time.

#if CAIRN_ISA_NEON
template <int N>
HWY_INLINE VU8 shifted(VU8 x) {  // left for N > 0
  if constexpr (N > 0) {
    return VU8{vshlq_n_u8(x.raw, N)};
  } else if constexpr (N < 0) {
    return VU8{vshrq_n_u8(x.raw, -N)};
  } else {
    return x;
  }
}
template <int kShift>
HWY_INLINE void swap_bits(VU8& a, VU8& b, uint8_t mask) {
  const uint8x16_t of_b = vdupq_n_u8(mask), from_a = shifted<-kShift>(a).raw, from_b = shifted<kShift>(b).raw;
  a = VU8{vbslq_u8(of_b, a.raw, from_b)};
  b = VU8{vbslq_u8(of_b, from_a, b.raw)};
}
#else
template <int N>
HWY_INLINE VU8 shifted(VU8 x) {  // left for N > 0; bits cross bytes, masks take them away
  if constexpr (N > 0) {
    return hn::BitCast(du8, hn::ShiftLeft<N>(hn::BitCast(du16, x)));
  } else if constexpr (N < 0) {
    return hn::BitCast(du8, hn::ShiftRight<-N>(hn::BitCast(du16, x)));
  } else {
    return x;
  }
}

// Bits `mask` of b and those kShift above them in a change places.
template <int kShift>
HWY_INLINE void swap_bits(VU8& a, VU8& b, uint8_t mask) {
  const VU8 differ = hn::And(hn::Xor(shifted<-kShift>(a), b), hn::Set(du8, mask));
  b = hn::Xor(b, differ);
  a = hn::Xor(a, shifted<kShift>(differ));
}
#endif

// The table's rows as vectors, 128 added where the product wants unsigned weights. Codes of one or two bits
// lie several to a nibble: a vector each looks up one of them.
template <int Level>
struct Tables {
  static constexpr size_t kCount = Level == 1 ? 4 : Level == 2 ? 2 : Level <= 4 ? 1 : Level == 5 ? 2 : 4;
  VU8 entries[kCount];
  HWY_INLINE Tables(const PlaneTable& table, uint8_t flip) {
    alignas(16) int8_t rows[kCount][16];
    for (size_t row = 0; row < kCount; ++row) {
      for (size_t nibble = 0; nibble < 16; ++nibble) {
        rows[row][nibble] = Level <= 2 ? table.entries[0][nibble >> (row * static_cast<size_t>(Level))]
                                       : table.entries[row][nibble];
      }
    }
    CAIRN_UNROLL(kCount, i,
                 entries[i] = hn::Xor(hn::LoadDup128(du8, reinterpret_cast<const uint8_t*>(rows[i])),
                                      hn::Set(du8, flip)));
  }
};

// The upper half's alone.
template <>
struct Tables<7> : Tables<6> {
  using Tables<6>::Tables;
};

// The bytes that have bit I; `one` or `other` there. negated: −w there; w may have 128 added, and keeps it.
#if HWY_TARGET <= HWY_AVX3
template <size_t I>
HWY_INLINE auto with_bit(VU8 x) {
  return hn::TestBit(x, hn::Set(du8, static_cast<uint8_t>(1 << I)));
}
HWY_INLINE VU8 choose(decltype(with_bit<0>(VU8())) where, VU8 one, VU8 other) {
  return hn::IfThenElse(where, one, other);
}
template <size_t I>
HWY_INLINE VU8 negated(VU8 where, VU8 w) {
  return VU8{_mm512_mask_sub_epi8(w.raw, with_bit<I>(where).raw, _mm512_setzero_si512(), w.raw)};
}
#elif CAIRN_ISA_NEON
template <size_t I>
HWY_INLINE VU8 with_bit(VU8 x) {  // all of a byte's bits
  return VU8{vtstq_u8(x.raw, vdupq_n_u8(1 << I))};
}
HWY_INLINE VU8 choose(VU8 where, VU8 one, VU8 other) {
  return VU8{vbslq_u8(where.raw, one.raw, other.raw)};
}
template <size_t I>
HWY_INLINE VU8 negated(VU8 where, VU8 w) {
  const VU8 sign = with_bit<I>(where);
  return VU8{vsubq_u8(veorq_u8(w.raw, sign.raw), sign.raw)};
}
#else
template <size_t I>
HWY_INLINE VU8 with_bit(VU8 x) {  // it alone counts where it now is, on top
  return shifted<7 - static_cast<int>(I)>(x);
}
HWY_INLINE VU8 choose(VU8 where, VU8 one, VU8 other) {
  return VU8{_mm256_blendv_epi8(other.raw, one.raw, where.raw)};
}
template <size_t I>
HWY_INLINE VU8 negated(VU8 where, VU8 w) {
  // A byte that is zero would make w zero.
  const VU8 one = hn::Set(du8, uint8_t{1});
  const VU8 sign = I == 0 ? hn::Or(with_bit<I>(where), one) : with_bit<I>(hn::Or(where, one));
  return VU8{_mm256_sign_epi8(w.raw, sign.raw)};
}
#endif

// Calls visit(i, weights) for the 8 slices of one vector of each plane; up to 6 levels.
template <int Level, class Visit>
HWY_INLINE void look_up(const VU8* p, const Tables<Level>& tables, const Visit& visit) {
  const VU8 low4 = hn::Set(du8, 0x0F);
  if constexpr (Level == 1) {
    const VU8 nibbles[2] = {hn::And(p[0], low4), hn::And(shifted<-4>(p[0]), low4)};
    CAIRN_UNROLL(kSlices, i, visit(i, hn::TableLookupBytes(tables.entries[i % 4], nibbles[i / 4])));
    return;
  } else {
    // Fields of two bits: of even slices in pairs[0], of odd ones in pairs[1].
    VU8 pairs[2] = {p[1], p[0]};
    swap_bits<1>(pairs[0], pairs[1], 0x55);
    if constexpr (Level == 2) {
      CAIRN_UNROLL(kSlices, i, const VU8 nibble = hn::And(shifted < i >= 4 ? -4 : 0 > (pairs[i % 2]), low4);
                   visit(i, hn::TableLookupBytes(tables.entries[i / 2 % 2], nibble)));
    } else {
      VU8 rest[2];
      if constexpr (Level == 3) {
        rest[0] = shifted<1>(p[2]);
        rest[1] = p[2];
      } else {
        rest[0] = p[3];
        rest[1] = p[2];
        swap_bits<1>(rest[0], rest[1], 0x55);
      }
      // Fields of four bits: quads[i % 4] has slices i and i + 4.
      VU8 quads[4] = {rest[0], rest[1], pairs[0], pairs[1]};
      swap_bits<2>(quads[0], quads[2], 0x33);
      swap_bits<2>(quads[1], quads[3], 0x33);
      CAIRN_UNROLL(
          kSlices, i, const VU8 nibble = hn::And(shifted < i >= 4 ? -4 : 0 > (quads[i % 4]), low4);
          VU8 w = hn::TableLookupBytes(tables.entries[0], nibble); if constexpr (Level >= 5) {
            const auto fifth = with_bit<i>(p[4]);
            if constexpr (Level == 5) {
              w = choose(fifth, hn::TableLookupBytes(tables.entries[1], nibble), w);
            } else {
              const auto sixth = with_bit<i>(p[5]);
              const VU8 high = choose(sixth, hn::TableLookupBytes(tables.entries[3], nibble),
                                      hn::TableLookupBytes(tables.entries[2], nibble));
              w = choose(sixth, hn::TableLookupBytes(tables.entries[1], nibble), w);
              w = choose(fifth, high, w);
            }
          };
          visit(i, w));
    }
  }
}

// Calls visit(i, weights) for the 8 slices of one vector of each plane.
template <int Level, class Visit>
HWY_INLINE void unpack(const VU8* p, const Tables<Level>& tables, const Visit& visit) {
  if constexpr (Level <= 6) {
    look_up<Level>(p, tables, visit);
  } else {  // a code below the middle is the mirror image of one above it
    const VU8 below = hn::Not(p[0]);
    VU8 from_middle[6];
    CAIRN_UNROLL(6, plane, from_middle[plane] = hn::Xor(p[plane + 1], below));
    look_up<6>(
        from_middle, tables, [&](auto i, VU8 w) HWY_ATTR __attribute__((always_inline)) {
          visit(i, negated<i>(below, w));
        });
  }
}
