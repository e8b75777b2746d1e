// TQ1_0, blocks of 256: w = d * (trit - 1). A byte holds the fraction of 256 whose digits, to base 3, are its
// trits. Bytes: five trits of the codes 32 apart[32], five of those 16 apart[16], four of those 4 apart[4], d
// f16.
#pragma once

#include "kernels/encodings/lanes.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

struct TQ1_0 : Block<54, 8> {
  static constexpr int kZero = 1, kMostCode = 2;
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
  template <int kCount>
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const float d = LoadHalf(p + 52);
    for (int g = 0; g < kChunkGroups; ++g) scale[g] = d;
  }
  template <class Lanes>
  static HWY_INLINE StepCodes Codes(const Chunk& chunk) {
    return LoadGroups<32, Lanes>(chunk.codes);
  }
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
