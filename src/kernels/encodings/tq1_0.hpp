// TQ1_0, blocks of 256: w = d * (trit - 1). A byte holds the fraction of 256 whose digits, to base 3, are its
// trits. Bytes: five trits of the codes 32 apart[32], five of those 16 apart[16], four of those 4 apart[4], d
// f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct TQ1_0 : Block<54, 8> {
  static constexpr int kZero = 1, kMostCode = 2;
#if CAIRN_ISA_X86
  // Where the bytes of 16 codes lie (the last four are there four times, the last of 16 that are read), and
  // of which power of three times them the codes are the first trits.
  struct Piece {
    static constexpr int Offset(int n) { return n < 10 ? n % 2 * 16 : n < 15 ? 32 : 36; }
    static constexpr int Factor(int n, int word) {
      int factor = 1;
      for (int i = 0; i < (n < 10 ? n / 2 : n < 15 ? n - 10 : word / 2); ++i) factor *= 3;
      return factor;
    }
  };
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const uint8_t* p) {
    struct Tables {
      alignas(kVectorBytes) uint16_t factor[kStepCodes / 2];
      alignas(kVectorBytes) uint8_t last[kStepCodes];
      constexpr Tables() : factor(), last() {
        for (int i = 0; i < kStepCodes; ++i) {
          const int n = 2 * Lanes::Group(i / 16) + Lanes::Half(i / 16);
          factor[i / 2] = static_cast<uint16_t>(Piece::Factor(n, i % 16 / 2) << 8);
          last[i] = static_cast<uint8_t>(n < 15 ? i % 16 : 12 + i % 4);
        }
      }
    };
    static constexpr Tables kTables;
    constexpr auto last = [](int lane) { return 2 * Lanes::Group(lane) + Lanes::Half(lane) == 15; };
#define CAIRN_AT(lane) Piece::Offset(2 * Lanes::Group(lane) + Lanes::Half(lane))
    VU8 bytes = LoadPieces<CAIRN_PIECES(CAIRN_AT)>(p);
#undef CAIRN_AT
    if constexpr (last(kPieces - 1)) bytes = hn::TableLookupBytes(bytes, hn::Load(DU8(), kTables.last));
    // Of each byte, times the factor and modulo 256, three 256ths: the even bytes', then the odd ones'.
    const DU16 d;
    const VU16 factor = hn::Load(d, kTables.factor), v = hn::BitCast(d, bytes);
    const VU16 even = hn::MulHigh(hn::Mul(v, factor), hn::Set(d, 3));
    const VU16 odd = hn::MulHigh(hn::Mul(hn::ShiftRight<8>(v), factor), hn::Set(d, 0x300));
    return hn::BitCast(DU8(), hn::Or(even, hn::And(odd, hn::Set(d, 0xFF00))));
  }
#else
  struct Chunk {
    HWY_INLINE explicit Chunk(const uint8_t* p) {
      const hn::CappedTag<uint8_t, 32> most;
      for (int i = 0; i < 32; i += static_cast<int>(hn::MaxLanes(most)))
        StoreTrits<32, 5>(most, hn::LoadU(most, p + i), codes + i);
      const hn::FixedTag<uint8_t, 16> d;
      StoreTrits<16, 5>(d, hn::LoadU(d, p + 32), codes + 160);
      // Four bytes as they are, times 3, 9 and 27.
      const hn::Repartition<uint32_t, decltype(d)> d32;
      const hn::Repartition<uint64_t, decltype(d)> d64;
      const auto one = hn::BitCast(d, hn::Set(d32, LoadScalar<uint32_t>(p + 48)));
      const auto three = Times3(one), nine = Times3(three);
      const auto pair = [&](auto a, auto b) CAIRN_LAMBDA {
        return hn::BitCast(d64, hn::InterleaveLower(d32, hn::BitCast(d32, a), hn::BitCast(d32, b)));
      };
      const auto all = hn::InterleaveLower(d64, pair(one, three), pair(nine, Times3(nine)));
      StoreTrits<16, 1>(d, hn::BitCast(d, all), codes + 240);
    }
    template <class V>
    static HWY_INLINE V Times3(V v) {
      return hn::Add(v, hn::Add(v, v));
    }
    // Each byte's first trit, v · 3 / 256, then that of three times the byte, …
    template <int kApart, int kTrits, class D>
    static HWY_INLINE void StoreTrits(D d, hn::Vec<D> v, uint8_t* HWY_RESTRICT to) {
      Unroll<0, kTrits>([&](auto trit) CAIRN_LAMBDA {
        // Comparisons give −1 where v is above a third, and above two thirds.
        const auto above = [&](uint8_t most)
                               CAIRN_LAMBDA { return hn::VecFromMask(d, hn::Gt(v, hn::Set(d, most))); };
        hn::StoreU(hn::Sub(hn::Sub(hn::Zero(d), above(85)), above(170)), d, to + trit.value * kApart);
        v = Times3(v);
      });
    }
    alignas(64) uint8_t codes[256];
  };
  template <int kCount>
  static HWY_INLINE Chunk Open(const uint8_t* p) {
    return Chunk(p);
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LoadGroups<32, Lanes>(chunk.codes);
  }
#endif
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const float d = LoadHalf(p + 52);
    for (int g = 0; g < kChunkGroups; ++g) scale[g] = d;
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
