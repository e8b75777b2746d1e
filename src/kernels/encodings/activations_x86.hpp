// A token's activations as decode's product reads them, and the integer products with them.
//
// A chunk's groups of 32 go in sets, one group a lane of 16 codes: first a vector of the groups' first
// halves, then one of their last. What shares a scale is so added before anything is scaled. Where each half
// has a scale of its own (kSubscales 2), vectors are in order. The sums of four sets or vectors are then
// added across, until a vector has one lane for each scale. For several tokens that costs more than moving
// the codes once, so that words of 32 bits lie where their sums belong: the same integers, the same bits.
#pragma once

#include "kernels/encodings/unpack.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

// Groups of a whole chunk: as many as fill a vector of sums, one lane for each scale.
template <class E>
constexpr int kWholeChunk = static_cast<int>(kVectorBytes) / 4 / E::kSubscales < kChunkGroups
                                ? kChunkGroups
                                : static_cast<int>(kVectorBytes) / 4 / E::kSubscales;

// Of eight groups, or fewer, those of a set lie kSets apart.
template <int kCount>
constexpr int kSets = (kCount < kChunkGroups ? kCount : kChunkGroups) > kPieces
                          ? (kCount < kChunkGroups ? kCount : kChunkGroups) / kPieces
                          : 1;
template <int kSet, int kHalf, int kCount>
struct Apart {
  static constexpr int Half(int) { return kHalf; }
  static constexpr int Group(int lane) {
    const int group = kSet + lane * kSets<kCount>;
    return group < kCount ? group : kCount - 1;  // whose activations are zeros here
  }
};
// The group in a lane of a set of a chunk; those of the chunk's second eight come after its first. −1: none.
template <int kCount>
constexpr int GroupOf(int set, int lane) {
  const int eight = set / kSets<kCount>, group = set % kSets<kCount> + lane * kSets<kCount>;
  return group < kChunkGroups && 8 * eight + group < kCount ? 8 * eight + group : -1;
}

// Within each 128 bits: the sums of a's, b's, c's and d's lanes; lanes of 32 bits, or pairs of lanes of 16.
template <class D>
HWY_INLINE hn::Vec<D> AddAcross(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> c, hn::Vec<D> e) {
  const DI32 d32;
  const hn::Repartition<int64_t, DI32> d64;
  const auto pairs = [&](hn::Vec<D> v, hn::Vec<D> w) CAIRN_LAMBDA {
    const VI32 x = hn::BitCast(d32, v), y = hn::BitCast(d32, w);
    return hn::BitCast(d64, hn::Add(hn::BitCast(d, hn::InterleaveLower(d32, x, y)),
                                    hn::BitCast(d, hn::InterleaveUpper(d32, x, y))));
  };
  const auto ab = pairs(a, b), ce = pairs(c, e);
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab, ce)),
                 hn::BitCast(d, hn::InterleaveUpper(d64, ab, ce)));
}

// Within each 128 bits: word i of vector j becomes word j of vector i.
HWY_INLINE void TransposeWords(VU8& a, VU8& b, VU8& c, VU8& d) {
  const DU32 d32;
  const hn::Repartition<uint64_t, DU32> d64;
  const auto pairs = [&](VU8 v, VU8 w, bool upper) CAIRN_LAMBDA {
    const VU32 x = hn::BitCast(d32, v), y = hn::BitCast(d32, w);
    return hn::BitCast(d64, upper ? hn::InterleaveUpper(d32, x, y) : hn::InterleaveLower(d32, x, y));
  };
  const auto ab = pairs(a, b, false), ab_high = pairs(a, b, true);
  const auto cd = pairs(c, d, false), cd_high = pairs(c, d, true);
  a = hn::BitCast(DU8(), hn::InterleaveLower(d64, ab, cd));
  b = hn::BitCast(DU8(), hn::InterleaveUpper(d64, ab, cd));
  c = hn::BitCast(DU8(), hn::InterleaveLower(d64, ab_high, cd_high));
  d = hn::BitCast(DU8(), hn::InterleaveUpper(d64, ab_high, cd_high));
}

// How an encoding's codes are multiplied and summed.
template <class E>
struct Products {
  static constexpr bool kHalves = E::kSubscales == 2;
  // Without VNNI, sums of unsigned codes stay in 16 bits as long as Σ (code − centre) · x fits, over 16 codes
  // (8 in halves); on the way they may wrap around.
  static constexpr bool kNarrow = !CAIRN_HAS_VNNI && !E::kSigned;
  using Sum = std::conditional_t<kNarrow, DI16, DI32>;
  using VSum = hn::Vec<Sum>;
  static constexpr int kSumLanes = static_cast<int>(kVectorBytes / sizeof(hn::TFromD<Sum>));
  // What is subtracted from codes. Signed ones become unsigned for VNNI, 128 more.
  static constexpr int kCentre = E::kSigned ? (CAIRN_HAS_VNNI ? 128 : 0)
                                 : kNarrow && !kHalves && E::kMostCode - E::kZero > 16 ? 16
                                                                                       : E::kZero;
  static constexpr int kMissing = E::kSigned ? 0 : kCentre - E::kZero;  // what the sums lack of codes
  // Vectors of a whole chunk's sums and codes, and of the codes that a chunk of kCount groups has.
  static constexpr int kSums = kWholeChunk<E> * E::kSubscales * 4 / static_cast<int>(kVectorBytes);
  static constexpr int kAllCodes = kWholeChunk<E> * kGroupSize / kStepCodes;
  template <int kCount>
  static constexpr int kCodes = kHalves ? Steps(kCount) : 2 * kSets<kCount>*(kCount > kChunkGroups ? 2 : 1);

  // The scale of a lane of the sums, or −1: halves in order, else groups.
  template <int kCount>
  static constexpr int ScaleOf(int lane) {
    const int set = lane % 4, piece = lane % (static_cast<int>(kVectorBytes) / 4) / 4;
    const int vector = lane / (static_cast<int>(kVectorBytes) / 4);
    return kHalves ? (4 * vector + set) * kPieces + piece : GroupOf<kCount>(set, piece);
  }

  template <int kIndex, int kCount>
  static HWY_INLINE VU8 Codes(const uint8_t* p) {
    if constexpr (kCount > kChunkGroups) {
      constexpr int kEight = kIndex / kCodes<kChunkGroups>;
      return Codes<kIndex % kCodes<kChunkGroups>, kChunkGroups>(p + kEight * kChunkGroups / E::kGroups *
                                                                        E::kBytes);
    } else {
      using Lanes =
          std::conditional_t<kHalves, InOrder<kIndex, kCount>, Apart<kIndex / 2, kIndex % 2, kCount>>;
      const VU8 codes = E::template Codes<Lanes>(p);
      return E::kSigned && CAIRN_HAS_VNNI ? hn::Xor(codes, hn::Set(DU8(), 0x80)) : codes;
    }
  }

  // sum + Σ codes · x
  static HWY_INLINE VSum Add(VSum sum, VU8 codes, const int8_t* values) {
    const VI8 x = hn::Load(DI8(), values);
    if constexpr (kNarrow) {
      return hn::Add(sum, Dot2(codes, x));
    } else if constexpr (!E::kSigned || CAIRN_HAS_VNNI) {
      return Dot4(sum, codes, x);
    } else {
      return Dot4Signed(sum, hn::BitCast(DI8(), codes), x);
    }
  }

  // start + vector kIndex of a chunk's sums of codes · x; codes(Constant<i>()) is vector i of the codes.
  // kWords: vectors of codes and values are those of InWords.
  template <int kIndex, int kCount, bool kWords, class Codes>
  static HWY_INLINE VSum Sums(VSum start, const Codes& codes, const int8_t* values) {
    const auto add = [&](VSum sum, auto i) CAIRN_LAMBDA {
      constexpr int kAt = decltype(i)::value;
      if constexpr (kWords || kAt < kCodes<kCount>) return Add(sum, codes(i), values + kAt * kStepCodes);
      return sum;
    };
    if constexpr (kWords) {
      constexpr int kEach = kAllCodes / kSums;
      Unroll<kIndex * kEach, (kIndex + 1) * kEach>([&](auto i) CAIRN_LAMBDA { start = add(start, i); });
      return start;
    } else {
      VSum sums[4];
      Unroll<0, 4>([&](auto i) CAIRN_LAMBDA {
        constexpr int kPart = 4 * kIndex + decltype(i)::value;
        const VSum zero = hn::Zero(Sum());
        if constexpr (kHalves) {
          sums[i.value] = add(zero, Constant<kPart>());
        } else {
          sums[i.value] = add(add(zero, Constant<2 * kPart>()), Constant<2 * kPart + 1>());
        }
      });
      return hn::Add(start, AddAcross(Sum(), sums[0], sums[1], sums[2], sums[3]));
    }
  }

  // Sums as 32-bit integers.
  static HWY_INLINE VI32 Widen(VSum sum) {
    if constexpr (kNarrow) {
      return Dot2(sum, hn::Set(DI16(), 1));
    } else {
      return sum;
    }
  }

  // Words of the vectors whose sums are added across change places; vectors beyond the chunk are zeros.
  static HWY_INLINE void InWords(VU8 (&v)[kAllCodes]) {
    if constexpr (kHalves) {
      Unroll<0, kSums>([&](auto i) CAIRN_LAMBDA {
        constexpr int kAt = 4 * decltype(i)::value;
        TransposeWords(v[kAt], v[kAt + 1], v[kAt + 2], v[kAt + 3]);
      });
    } else {
      TransposeWords(v[0], v[2], v[4], v[6]);
      TransposeWords(v[1], v[3], v[5], v[7]);
    }
  }
};

// A chunk of a token's activations. Scales are in the order of the sums' lanes; each of a group's halves has
// one.
template <class E>
struct InputChunk {
  using P = Products<E>;
  static constexpr int kScales = kWholeChunk<E> * E::kSubscales;

  // Of the groups from `group` on.
  template <int kCount, bool kWords>
  HWY_INLINE void Fill(const QuantizedVector& x, size_t group) {
    const int8_t* from = x.values + group * kGroupSize;
    for (int piece = 0; piece < P::kAllCodes * kPieces; ++piece) {
      const int set = piece / (2 * kPieces), half = P::kHalves ? piece % 2 : piece / kPieces % 2;
      const int at = P::kHalves ? piece / 2 : GroupOf<kCount>(set, piece % kPieces);
      const __m128i v =
          at >= 0 && at < kCount
              ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at * kGroupSize + half * 16))
              : _mm_setzero_si128();
      _mm_store_si128(reinterpret_cast<__m128i*>(values + piece * 16), v);
    }
    if constexpr (kWords) {
      VU8 v[P::kAllCodes];
      auto* bytes = reinterpret_cast<uint8_t*>(values);
      Unroll<0, P::kAllCodes>(
          [&](auto i) CAIRN_LAMBDA { v[i.value] = hn::Load(DU8(), bytes + i.value * kStepCodes); });
      P::InWords(v);
      Unroll<0, P::kAllCodes>(
          [&](auto i) CAIRN_LAMBDA { hn::Store(v[i.value], DU8(), bytes + i.value * kStepCodes); });
    }
    for (int lane = 0; lane < kScales; ++lane) {
      const int at = P::template ScaleOf<kCount>(lane);
      const int g = at < 0 ? kCount : at / E::kSubscales;
      scales[lane] = g < kCount ? x.scales[group + static_cast<size_t>(g)] : 0;
    }
    if constexpr (E::kHasOffset) {
      for (int i = 0; i < kScales; ++i) {
        const size_t at = group + static_cast<size_t>(i / E::kSubscales);
        if (i / E::kSubscales >= kCount) {
          sums[i] = 0;
        } else if constexpr (!P::kHalves) {
          sums[i] = x.sums[at];
        } else {
          int sum = 0;
          for (int j = 0; j < 16; ++j) sum += from[16 * i + j];
          sums[i] = x.scales[at] * static_cast<float>(sum);
        }
      }
    }
    if constexpr (P::kCentre != 0) {
      const typename P::Sum d;
      const VU8 centre = hn::Set(DU8(), static_cast<uint8_t>(P::kCentre));
      const auto codes = [&](auto) CAIRN_LAMBDA { return centre; };
      Unroll<0, P::kSums>([&](auto i) CAIRN_LAMBDA {
        const auto sum = P::template Sums<decltype(i)::value, kCount, kWords>(hn::Zero(d), codes, values);
        hn::Store(hn::Neg(sum), d, starts + i.value * P::kSumLanes);
      });
    }
  }

  template <int kIndex>
  HWY_INLINE typename P::VSum Start() const {
    if constexpr (P::kCentre != 0) return hn::Load(typename P::Sum(), starts + kIndex * P::kSumLanes);
    return hn::Zero(typename P::Sum());
  }

  alignas(64) int8_t values[P::kAllCodes * kStepCodes];  // in the order of the codes
  // −centre · Σ x for each of the sums' lanes
  alignas(P::kCentre != 0
              ? 64
              : 4) hn::TFromD<typename P::Sum> starts[P::kCentre != 0 ? P::kSums * P::kSumLanes : 1];
  alignas(64) float scales[kScales];
  alignas(E::kHasOffset ? 64
                        : 4) float sums[E::kHasOffset ? kScales : 1];  // scale · Σ x, in the groups' order
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
