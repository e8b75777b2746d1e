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

// Calls body(p, g, skip, Constant<count>) for the chunks of `groups` groups of a row, of which `before` more
// lie before `row`; see ForEachChunk. Where the rest would go in several chunks it goes in a whole one that
// begins with `skip` groups that were there before, whose activations are zeros.
template <class E, class Body>
HWY_INLINE void ForEachProductChunk(const uint8_t* row, size_t before, size_t groups, const Body& body) {
  constexpr size_t kWhole = kWholeChunk<E>;
  const size_t rest = groups % kWhole;
  if (E::kGroups < kChunkGroups && (rest & (rest - 1)) != 0 && before + groups > kWhole) {
    size_t g = 0;
    for (; g + kWhole <= groups; g += kWhole)
      body(row + g / E::kGroups * E::kBytes, g, size_t{0}, Constant<kWholeChunk<E>>());
    const size_t back = kWhole - rest;
    body(row + g / E::kGroups * E::kBytes - back / E::kGroups * E::kBytes, g - back, back,
         Constant<kWholeChunk<E>>());
    return;
  }
  ForEachChunk<E, kWholeChunk<E>>(row, groups, [&](const uint8_t* p, size_t g, auto count) CAIRN_LAMBDA {
    body(p, g, size_t{0}, count);
  });
}

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

// What a product needs to know of an encoding besides its codes; encodings that agree in it share the code
// that knows no more. kShortCodes: their sums may stay in 16 bits. kCentred: something is subtracted from
// codes. kFine: by activations of 16 bits.
template <int kScalesOfGroup, bool kSignedCodes, bool kShort, bool kCentre, bool kOffset, bool kFineValues>
struct Layout {
  static constexpr int kSubscales = kScalesOfGroup;
  static constexpr bool kSigned = kSignedCodes, kShortCodes = kShort, kCentred = kCentre;
  static constexpr bool kHasOffset = kOffset, kFine = kFineValues;
};

// How codes are multiplied and summed. For activations of 16 bits they are widened: of each pair the even
// one, then the odd one, so that a vector's sums stay where they are.
template <class L>
struct Products {
  static constexpr bool kHalves = L::kSubscales == 2, kFine = L::kFine;
  // Without VNNI, sums of unsigned codes stay in 16 bits as long as Σ (code − centre) · x fits, over 16 codes
  // (8 in halves); on the way they may wrap around.
  static constexpr bool kNarrow = L::kShortCodes;
  using Sum = std::conditional_t<kNarrow, DI16, DI32>;
  using VSum = hn::Vec<Sum>;
  static constexpr int kSumLanes = static_cast<int>(kVectorBytes / sizeof(hn::TFromD<Sum>));
  // Vectors of a whole chunk's sums and codes, and of the codes that a chunk of kCount groups has.
  static constexpr int kSums = kWholeChunk<L> * L::kSubscales * 4 / static_cast<int>(kVectorBytes);
  static constexpr int kAllCodes = kWholeChunk<L> * kGroupSize / kStepCodes;
  static constexpr int kFactors = kFine ? 2 : 1;  // vectors of factors for one of codes
  template <int kCount>
  static constexpr int kCodes = kHalves ? Steps(kCount) : 2 * kSets<kCount>*(kCount > kChunkGroups ? 2 : 1);

  // The scale of a lane of the sums, or −1: halves in order, else groups.
  template <int kCount>
  static constexpr int ScaleOf(int lane) {
    const int set = lane % 4, piece = lane % (static_cast<int>(kVectorBytes) / 4) / 4;
    const int vector = lane / (static_cast<int>(kVectorBytes) / 4);
    return kHalves ? (4 * vector + set) * kPieces + piece : GroupOf<kCount>(set, piece);
  }

  // Vector kPart of the factors that codes become.
  template <int kPart>
  static HWY_INLINE VU8 Factor(VU8 codes) {
    const DI16 d16;
    if constexpr (!kFine) {
      return codes;
    } else if constexpr (!L::kSigned) {
      const VU16 pairs = hn::BitCast(DU16(), codes);
      return hn::BitCast(DU8(),
                         kPart == 0 ? hn::And(pairs, hn::Set(DU16(), 0xFF)) : hn::ShiftRight<8>(pairs));
    } else {
      const VI16 pairs = hn::BitCast(d16, codes);
      return hn::BitCast(DU8(), hn::ShiftRight<8>(kPart == 0 ? hn::ShiftLeft<8>(pairs) : pairs));
    }
  }

  // sum + Σ factors · x
  static HWY_INLINE VSum Add(VSum sum, VU8 factors, VI8 x) {
    if constexpr (kFine) {
      return DotPairs(sum, hn::BitCast(DI16(), factors), hn::BitCast(DI16(), x));
    } else if constexpr (kNarrow) {
      return hn::Add(sum, Dot2(factors, x));
    } else if constexpr (!L::kSigned || CAIRN_HAS_VNNI) {
      return Dot4(sum, factors, x);
    } else {
      return Dot4Signed(sum, hn::BitCast(DI8(), factors), x);
    }
  }

  // sum + Σ codes · x for vector kAt of the codes.
  template <int kAt>
  static HWY_INLINE VSum AddCodes(VSum sum, const VU8* codes, const int8_t* values) {
    const int8_t* x = values + kAt * kFactors * kStepCodes;
    sum = Add(sum, Factor<0>(codes[kAt]), hn::Load(DI8(), x));
    if constexpr (kFine) sum = Add(sum, Factor<1>(codes[kAt]), hn::Load(DI8(), x + kStepCodes));
    return sum;
  }

  // start + vector kIndex of a chunk's sums of codes · x. kWords: vectors of codes and values are those of
  // InWords.
  template <int kIndex, int kCount, bool kWords>
  static HWY_INLINE VSum Sums(VSum start, const VU8* codes, const int8_t* values) {
    if constexpr (kWords) {
      constexpr int kEach = kAllCodes / kSums;
      Unroll<kIndex * kEach, (kIndex + 1) * kEach>(
          [&](auto i) CAIRN_LAMBDA { start = AddCodes<decltype(i)::value>(start, codes, values); });
      return start;
    } else {
      VSum sums[4];
      Unroll<0, 4>([&](auto i) CAIRN_LAMBDA {
        constexpr int kPart = 4 * kIndex + decltype(i)::value, kFirst = kHalves ? kPart : 2 * kPart;
        VSum sum = hn::Zero(Sum());
        if constexpr (kFirst < kCodes<kCount>) sum = AddCodes<kFirst>(sum, codes, values);
        if constexpr (!kHalves && kFirst + 1 < kCodes<kCount>) sum = AddCodes<kFirst + 1>(sum, codes, values);
        sums[i.value] = sum;
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

// Of an encoding: what its codes become.
template <class E, bool kFineValues>
struct CodesOf {
  static constexpr bool kHalves = E::kSubscales == 2;
  static constexpr bool kShort =
      !CAIRN_HAS_VNNI && !E::kSigned && E::kMostCode < (kHalves ? 64 : 32) && !kFineValues;
  // Signed codes become unsigned for VNNI, 128 more.
  static constexpr bool kFlip = E::kSigned && CAIRN_HAS_VNNI && !kFineValues;
  // What is subtracted from codes.
  static constexpr int kCentre = E::kSigned                                           ? (kFlip ? 128 : 0)
                                 : kShort && !kHalves && E::kMostCode - E::kZero > 16 ? 16
                                                                                      : E::kZero;
  static constexpr int kMissing = E::kSigned ? 0 : kCentre - E::kZero;  // what the sums lack of codes
  using L = Layout<E::kSubscales, E::kSigned, kShort, kCentre != 0, E::kHasOffset, kFineValues>;

  // Of a chunk of up to eight groups, opened.
  template <int kIndex, int kCount, class Opened>
  static HWY_INLINE VU8 Codes(const Opened& chunk) {
    using Lanes = std::conditional_t<kHalves, InOrder<kIndex, kCount>, Apart<kIndex / 2, kIndex % 2, kCount>>;
    const VU8 codes = E::template Codes<Lanes>(chunk);
    return kFlip ? hn::Xor(codes, hn::Set(DU8(), 0x80)) : codes;
  }
};

// A chunk of a token's activations. Scales are in the order of the sums' lanes; each of a group's halves has
// one.
template <class L>
struct InputChunk {
  using P = Products<L>;
  static constexpr bool kFine = L::kFine;
  static constexpr int kScales = kWholeChunk<L> * L::kSubscales;

  // Of the groups from `group` on, zeros for the first `skip`; rest: what rounding x left, where kFine;
  // centre: what is subtracted from codes.
  template <int kCount, bool kWords>
  HWY_INLINE void Fill(const QuantizedVector& x, const QuantizedVector* rest, size_t group, size_t skip,
                       int centre) {
    const int8_t* from = x.values + group * kGroupSize;
    if constexpr (kFine) {
      alignas(64) int8_t coarse[P::kAllCodes * kStepCodes], fine[P::kAllCodes * kStepCodes];
      InOrderOfCodes<kCount, kWords>(from, skip, coarse);
      InOrderOfCodes<kCount, kWords>(rest->values + group * kGroupSize, skip, fine);
      const DI16 d16;
      for (int i = 0; i < P::kAllCodes; ++i) {
        const VI16 high = hn::BitCast(d16, hn::Load(DI8(), coarse + i * kStepCodes));
        const VI16 low = hn::BitCast(d16, hn::Load(DI8(), fine + i * kStepCodes));
        const auto store = [&](VI16 a, VI16 b, int at) CAIRN_LAMBDA {
          const VI16 both = hn::Add(hn::Mul(a, hn::Set(d16, kFineSteps)), b);
          hn::Store(hn::BitCast(DI8(), both), DI8(), values + (2 * i + at) * kStepCodes);
        };
        store(hn::ShiftRight<8>(hn::ShiftLeft<8>(high)), hn::ShiftRight<8>(hn::ShiftLeft<8>(low)), 0);
        store(hn::ShiftRight<8>(high), hn::ShiftRight<8>(low), 1);
      }
    } else {
      InOrderOfCodes<kCount, kWords>(from, skip, values);
    }
    const float* steps = kFine ? rest->scales : x.scales;
    for (int lane = 0; lane < kScales; ++lane) {
      const int at = P::template ScaleOf<kCount>(lane);
      const int g = at < 0 ? kCount : at / L::kSubscales;
      scales[lane] = g >= static_cast<int>(skip) && g < kCount ? steps[group + static_cast<size_t>(g)] : 0;
    }
    if constexpr (L::kHasOffset) {
      for (int i = 0; i < kScales; ++i) {
        const size_t at = group + static_cast<size_t>(i / L::kSubscales);
        if (i / L::kSubscales >= kCount || i / L::kSubscales < static_cast<int>(skip)) {
          sums[i] = 0;
        } else if constexpr (!P::kHalves) {
          sums[i] = kFine ? x.sums[at] + rest->sums[at] : x.sums[at];
        } else {
          int sum = 0;
          for (int j = 0; j < 16; ++j) {
            const int value = from[16 * i + j];
            sum += kFine
                       ? kFineSteps * value + rest->values[group * kGroupSize + 16 * static_cast<size_t>(i) +
                                                           static_cast<size_t>(j)]
                       : value;
          }
          sums[i] = steps[at] * static_cast<float>(sum);
        }
      }
    }
    if constexpr (L::kCentred) {
      const typename P::Sum d;
      VU8 codes[P::kAllCodes];
      for (VU8& code : codes) code = hn::Set(DU8(), static_cast<uint8_t>(centre));
      Unroll<0, P::kSums>([&](auto i) CAIRN_LAMBDA {
        const auto sum = P::template Sums<decltype(i)::value, kCount, kWords>(hn::Zero(d), codes, values);
        hn::Store(hn::Neg(sum), d, starts + i.value * P::kSumLanes);
      });
    }
  }

  // A chunk's values as the codes lie that they are multiplied by.
  template <int kCount, bool kWords>
  static HWY_INLINE void InOrderOfCodes(const int8_t* from, size_t skip, int8_t* HWY_RESTRICT to) {
    const int first = static_cast<int>(skip);
    for (int piece = 0; piece < P::kAllCodes * kPieces; ++piece) {
      const int set = piece / (2 * kPieces), half = P::kHalves ? piece % 2 : piece / kPieces % 2;
      const int at = P::kHalves ? piece / 2 : GroupOf<kCount>(set, piece % kPieces);
      const __m128i v =
          at >= first && at < kCount
              ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at * kGroupSize + half * 16))
              : _mm_setzero_si128();
      _mm_store_si128(reinterpret_cast<__m128i*>(to + piece * 16), v);
    }
    if constexpr (kWords) {
      VU8 v[P::kAllCodes];
      auto* bytes = reinterpret_cast<uint8_t*>(to);
      for (int i = 0; i < P::kAllCodes; ++i) v[i] = hn::Load(DU8(), bytes + i * kStepCodes);
      P::InWords(v);
      for (int i = 0; i < P::kAllCodes; ++i) hn::Store(v[i], DU8(), bytes + i * kStepCodes);
    }
  }

  // sum + the sums of products, scaled by both sides' scales, + offset · Σ x.
  template <int kIndex>
  HWY_INLINE VF32 AddScaled(VF32 sum, typename P::VSum dots, VF32 scale, VF32 offset) const {
    const DF32 df;
    constexpr int kAt = kIndex * static_cast<int>(kVectorBytes) / 4;
    if constexpr (L::kHasOffset) sum = hn::MulAdd(offset, hn::Load(df, sums + kAt), sum);
    return hn::MulAdd(hn::ConvertTo(df, P::Widen(dots)), hn::Mul(scale, hn::Load(df, scales + kAt)), sum);
  }

  template <int kIndex>
  HWY_INLINE typename P::VSum Start() const {
    if constexpr (L::kCentred) return hn::Load(typename P::Sum(), starts + kIndex * P::kSumLanes);
    return hn::Zero(typename P::Sum());
  }

  alignas(
      kVectorBytes) int8_t values[P::kAllCodes * P::kFactors * kStepCodes];  // in the order of the factors
  // −centre · Σ x for each of the sums' lanes
  alignas(L::kCentred ? kVectorBytes
                      : 4) hn::TFromD<typename P::Sum> starts[L::kCentred ? P::kSums * P::kSumLanes : 1];
  alignas(kVectorBytes) float scales[kScales];
  alignas(L::kHasOffset ? kVectorBytes
                        : 4) float sums[L::kHasOffset ? kScales : 1];  // scale · Σ x, in the groups' order
};

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
