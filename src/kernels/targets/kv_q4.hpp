// Rows of the KV cache in 4 and 5 bits: what they are made of, and back as floats.
#pragma once

#include "kernels/targets/hadamard.hpp"
#include "kernels/targets/kv_rows.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// A group's values are scale · level, the scale a bfloat16 (float's upper half: its range, which an f16 has
// not), that of a row's last group, if it is no whole one, a byte, and the levels those of Lloyd's and Max's
// quantiser of a normal distribution with the largest at 127 (Max 1960, Quantizing for minimum distortion),
// because that is what a rotated head's elements are close to: 1 dB less noise than equal steps. Levels are
// symmetric: a code is a size's number and a sign.
constexpr size_t kBlock = 32;  // elements whose codes' lower halves lie together: byte j has j and j + 16
struct Q4 {                    // 3 bits and the sign above them
  static constexpr size_t kSizes = 8;
  static constexpr bool kSigns = false;  // apart
  alignas(16) static constexpr int8_t kLevels[16] = {6,  18,  31,  44,  58,  75,  96,  127,
                                                     -6, -18, -31, -44, -58, -75, -96, -127};
};
struct Q5 {  // 4 bits, and a bit for each element's sign behind the row's codes
  static constexpr size_t kSizes = 16;
  static constexpr bool kSigns = true;
  alignas(16) static constexpr int8_t kLevels[16] = {3,  8,  13, 18, 24, 29, 35,  41,
                                                     47, 54, 61, 70, 79, 90, 105, 127};
};
// Scales that are tried, as parts of the one whose largest level is the group's largest element; the one with
// the least squared error is taken.
constexpr float kQ4Scales[] = {0.7f,  0.77f, 0.84f, 0.9f,  0.96f, 1.02f,
                               1.08f, 1.14f, 1.2f,  1.26f, 1.32f, 1.4f};

HWY_INLINE float from_bfloat16(uint16_t half) {
  return __builtin_bit_cast(float, uint32_t{half} << 16);
}
// The nearest, ties to even; x is finite and far from the largest float.
HWY_INLINE uint16_t to_bfloat16(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A scale in a byte: five bits of exponent and three of fraction, from 2^-20 to 3,328; 0 is 0, 255 no number.
// (Levels of 127 reach beyond what an f16 cache holds.) Of the float nearest to it.
constexpr uint32_t kByteScale = 855;  // the float's upper 12 bits less this
constexpr float kLeastByteScale = 0x1p-21f;
HWY_INLINE float from_scale_byte(uint8_t code) {
  if (code == 0) return 0;
  return __builtin_bit_cast(float, code == 255 ? 0x7fc00000 : (code + kByteScale) << 20);
}
HWY_INLINE uint8_t to_scale_byte(float x) {
  const uint32_t upper = (__builtin_bit_cast(uint32_t, x) + (1u << 19)) >> 20;
  return static_cast<uint8_t>(upper <= kByteScale ? 1 : upper - kByteScale < 254 ? upper - kByteScale : 254);
}

// Scales of a row, those of whole groups first.
HWY_INLINE void put_scale(float scale, size_t group, bool whole, uint8_t* scales) {
  if (whole) {
    const uint16_t half = to_bfloat16(scale);
    __builtin_memcpy(scales + 2 * group, &half, 2);
  } else {  // a NaN's upper bits would be those of a large number
    scales[2 * group] = scale > 0 ? to_scale_byte(scale) : scale == 0 ? 0 : 255;
  }
}
HWY_INLINE float get_scale(const uint8_t* scales, size_t group, bool whole) {
  if (!whole) return from_scale_byte(scales[2 * group]);
  uint16_t half;
  __builtin_memcpy(&half, scales + 2 * group, 2);
  return from_bfloat16(half);
}

// The level nearest to a ≥ 0, and its number.
struct Nearest {
  VF level, number;
};
template <class Q>
HWY_INLINE Nearest nearest_level(VF a) {
  const FloatTag df;
  Nearest result{hn::Set(df, Q::kLevels[0]), hn::Zero(df)};
  for (size_t i = 1; i < Q::kSizes; ++i) {
    const float low = Q::kLevels[i - 1], high = Q::kLevels[i];
    const auto above = hn::Gt(a, hn::Set(df, (low + high) / 2));
    result.level = hn::Add(result.level, hn::IfThenElseZero(above, hn::Set(df, high - low)));
    result.number = hn::Add(result.number, hn::IfThenElseZero(above, hn::Set(df, 1.0f)));
  }
  return result;
}

// The scale of count ≤ kQ4Group elements, and their sizes' numbers. A group that is not finite gets a scale
// that is not a number.
template <class Q>
HWY_INLINE float choose_levels(const float* x, size_t count, int32_t* HWY_RESTRICT numbers) {
  const bool whole = count == kQ4Group;
  const FloatTag df;
  const hn::RebindToSigned<FloatTag> di;
  float sizes[kQ4Group] = {}, there[kQ4Group] = {};
  float largest = 0, total = 0;
  for (size_t i = 0; i < count; ++i) {
    sizes[i] = x[i] < 0 ? -x[i] : x[i];
    there[i] = 1;
    largest = sizes[i] > largest ? sizes[i] : largest;
    total += sizes[i];
  }
  float best = 0, least = 0;
  const bool finite = total <= 3e38f;
  if (finite && largest > (whole ? 1e-30f : 127 * kLeastByteScale)) {
    for (const float part : kQ4Scales) {
      const float wanted = largest / 127 * part;
      const float candidate =
          whole ? from_bfloat16(to_bfloat16(wanted)) : from_scale_byte(to_scale_byte(wanted));
      VF errors = hn::Zero(df);
      for (size_t i = 0; i < kQ4Group; i += kLanes) {
        const VF a = hn::Mul(hn::LoadU(df, sizes + i), hn::Set(df, 1 / candidate));
        const VF error = hn::Mul(hn::Sub(a, nearest_level<Q>(a).level), hn::LoadU(df, there + i));
        errors = hn::MulAdd(error, error, errors);
      }
      // Squared scales may be too small for a float.
      const float error = candidate * hn::GetLane(hn::Sqrt(hn::SumOfLanes(df, errors)));
      if (best == 0 || error < least) best = candidate, least = error;
    }
  }
  const VF inverse = hn::Set(df, best > 0 ? 1 / best : 0.0f);
  for (size_t i = 0; i < kQ4Group; i += kLanes) {
    const VF a = hn::Mul(hn::LoadU(df, sizes + i), inverse);
    hn::StoreU(hn::ConvertTo(di, nearest_level<Q>(a).number), di, numbers + i);
  }
  return finite ? best : from_bfloat16(0x7fc0);
}

// Codes of count elements from the begin of a group on, by their sizes' numbers and the signs of x; signs: of
// Q5.
template <class Q>
HWY_INLINE void store_codes(const float* x, int32_t* HWY_RESTRICT numbers, size_t count, uint8_t* codes,
                            uint8_t* signs) {
  for (size_t i = 0; i < count; ++i) {
    const int32_t sign = x[i] < 0 ? 1 : 0;
    if constexpr (Q::kSigns) {
      uint8_t* byte = signs + i / 8;
      *byte = static_cast<uint8_t>((i % 8 == 0 ? 0 : *byte) | sign << i % 8);
    } else {
      numbers[i] += sign * static_cast<int32_t>(Q::kSizes);
    }
  }
  for (size_t block = 0; block < count; block += kBlock) {
    const size_t rest = count - block < kBlock ? count - block : kBlock, half = (rest + 1) / 2;
    for (size_t i = 0; i < half; ++i) {
      const int32_t upper = half + i < rest ? numbers[block + half + i] : 0;
      codes[block / 2 + i] = static_cast<uint8_t>(numbers[block + i] | upper << 4);
    }
  }
}

// Elements of a row from the begin of a group on; signs: of Q5.
template <class Q>
HWY_INLINE void store_q4(const float* row, size_t n, uint8_t* codes, uint8_t* signs, uint8_t* scales) {
  static_assert(kQ4Group % kLanes == 0 && kQ4Group % kBlock == 0);
  for (size_t group = 0; group < n; group += kQ4Group) {
    const float* x = row + group;
    const size_t count = n - group < kQ4Group ? n - group : kQ4Group;
    int32_t numbers[kQ4Group];
    put_scale(choose_levels<Q>(x, count, numbers), group / kQ4Group, count == kQ4Group, scales);
    store_codes<Q>(x, numbers, count, codes + group / 2, Q::kSigns ? signs + group / 8 : nullptr);
  }
}

// The level nearest to a ≥ 0 and its number, by ⌊2 a⌋: levels are integers, and so bounds between them are
// multiples of a half.
struct NearestLevels {
  float level[256];
  uint8_t number[256];
};
template <class Q>
constexpr NearestLevels nearest_levels() {
  NearestLevels table{};
  for (int twice = 0; twice < 256; ++twice) {
    uint8_t number = 0;
    for (size_t i = 1; i < Q::kSizes; ++i)
      number = static_cast<uint8_t>(number + (twice >= Q::kLevels[i - 1] + Q::kLevels[i] ? 1 : 0));
    table.number[twice] = number;
    table.level[twice] = Q::kLevels[number];
  }
  return table;
}

// See AttentionKernels::store_fed_back. Elements of a vector answer each other one by one, those behind it
// all of its errors together.
HWY_INLINE void store_q5_fed_back(const float* row, size_t n, const float* HWY_RESTRICT feedback,
                                  uint8_t* codes, uint8_t* scales) {
  static constexpr NearestLevels kNearest = nearest_levels<Q5>();
  static_assert(16 % kLanes == 0);
  const FloatTag df;
  const size_t stride = fed_back_stride(n);
  float wanted[kMostFedBack] = {}, chosen[kMostFedBack / kQ4Group];
  int32_t numbers[kMostFedBack];
  for (size_t i = 0; i < n; ++i) wanted[i] = row[i];
  bool finite = true;
  for (size_t group = 0; group < n; group += kQ4Group) {
    const size_t count = n - group < kQ4Group ? n - group : kQ4Group;
    const float scale = chosen[group / kQ4Group] = choose_levels<Q5>(row + group, count, numbers + group);
    put_scale(scale, group / kQ4Group, count == kQ4Group, scales);
    finite &= scale < 3e38f;
  }
  for (size_t begin = 0; begin < n && finite; begin += kLanes) {
    const size_t count = n - begin < kLanes ? n - begin : kLanes;
    float errors[kLanes] = {};
    const float scale = chosen[begin / kQ4Group], twice = scale > 0 ? 2 / scale : 0;
    for (size_t i = 0; i < count; ++i) {
      const float x = wanted[begin + i], size = (x < 0 ? -x : x) * twice;
      const auto at = static_cast<uint32_t>(static_cast<int32_t>(size < 255 ? size : 255));
      numbers[begin + i] = kNearest.number[at];
      const float stored = kNearest.level[at] * scale;
      errors[i] = row[begin + i] - (x < 0 ? -stored : stored);
      const VF answer = hn::LoadU(df, feedback + (begin + i) * stride + begin);
      hn::StoreU(hn::MulAdd(hn::Set(df, errors[i]), answer, hn::LoadU(df, wanted + begin)), df,
                 wanted + begin);
    }
    for (size_t at = begin + kLanes; at < n; at += kLanes) {
      VF x = hn::LoadU(df, wanted + at);
      for (size_t i = 0; i < count; ++i)
        x = hn::MulAdd(hn::Set(df, errors[i]), hn::LoadU(df, feedback + (begin + i) * stride + at), x);
      hn::StoreU(x, df, wanted + at);
    }
  }
  for (size_t group = 0; group < n; group += kQ4Group) {
    const size_t count = n - group < kQ4Group ? n - group : kQ4Group;
    store_codes<Q5>(wanted + group, numbers + group, count, codes + group / 2,
                    codes + (n + 1) / 2 + group / 8);
  }
}

// 16 levels of Q by their codes; signs: 32 of them, of which those from bit 16 · Half on count.
template <class Q, size_t Half>
HWY_INLINE hn::Vec<hn::FixedTag<int8_t, 16>> levels_of(hn::Vec<hn::FixedTag<uint8_t, 16>> codes,
                                                       uint32_t signs) {
  const hn::FixedTag<int8_t, 16> d8;
  const hn::FixedTag<uint8_t, 16> du8;
  const auto levels =
      hn::BitCast(d8, hn::TableLookupBytes(hn::BitCast(du8, hn::Load(d8, Q::kLevels)), codes));
  if constexpr (!Q::kSigns) return levels;
  alignas(16) static constexpr uint8_t kByte[2][16] = {{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
                                                       {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3}};
  alignas(16) static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const auto bit = hn::Load(du8, kBit);
  const auto all = hn::BitCast(du8, hn::Set(hn::FixedTag<uint32_t, 4>(), signs));
  const auto negative = hn::Eq(hn::And(hn::TableLookupBytes(all, hn::Load(du8, kByte[Half])), bit), bit);
  return hn::IfThenElse(hn::RebindMask(d8, negative), hn::Neg(levels), levels);
}

template <class Q>
HWY_INLINE void load_q4_row(const uint8_t* codes, const uint8_t* scales, size_t n, float* HWY_RESTRICT out) {
  const FloatTag df;
  const hn::FixedTag<uint8_t, 16> du8;
  const hn::FixedTag<int8_t, 16> d8;
  const uint8_t* signs = codes + (n + 1) / 2;
  const auto scale_at = [&](size_t at) HWY_ATTR {
    const size_t group = at / kQ4Group;
    return get_scale(scales, group, (group + 1) * kQ4Group <= n);
  };
  size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    alignas(16) int8_t levels[kBlock];
    uint32_t negative = 0;
    if constexpr (Q::kSigns) __builtin_memcpy(&negative, signs + i / 8, 4);
    const auto both = hn::LoadU(du8, codes + i / 2);
    hn::Store(levels_of<Q, 0>(hn::And(both, hn::Set(du8, uint8_t{15})), negative), d8, levels);
    hn::Store(levels_of<Q, 1>(hn::ShiftRight<4>(both), negative), d8, levels + kBlock / 2);
    const VF scale = hn::Set(df, scale_at(i));
    for (size_t j = 0; j < kBlock; j += kLanes)
      hn::StoreU(hn::Mul(ByteRows::load(levels + j), scale), df, out + i + j);
  }
  const size_t half = (n - i + 1) / 2;
  for (size_t j = 0; i + j < n; ++j) {
    const uint8_t both = codes[i / 2 + j % half];
    float level = Q::kLevels[j < half ? both & 15 : both >> 4];
    if (Q::kSigns && (signs[(i + j) / 8] >> (i + j) % 8 & 1) != 0) level = -level;
    out[i + j] = level * scale_at(i);
  }
}

// out = x as RoPE turns it. angles: [cosines [dims / 2], sines [dims / 2]]
HWY_INLINE void turn(const float* HWY_RESTRICT x, size_t n, const KvBias& rope,
                     const float* HWY_RESTRICT angles, float* HWY_RESTRICT out) {
  const size_t pairs = rope.dims / 2;
  const float *cosines = angles, *sines = angles + pairs;
  for (size_t i = rope.dims; i < n; ++i) out[i] = x[i];
  size_t i = 0;
  for (; rope.neox && i + kLanes <= pairs; i += kLanes) {
    const FloatTag df;
    const VF a = hn::LoadU(df, x + i), b = hn::LoadU(df, x + pairs + i);
    const VF c = hn::LoadU(df, cosines + i), s = hn::LoadU(df, sines + i);
    hn::StoreU(hn::MulSub(a, c, hn::Mul(b, s)), df, out + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), df, out + pairs + i);
  }
  for (; i < pairs; ++i) {
    const size_t first = rope.neox ? i : 2 * i, second = rope.neox ? pairs + i : 2 * i + 1;
    out[first] = x[first] * cosines[i] - x[second] * sines[i];
    out[second] = x[first] * sines[i] + x[second] * cosines[i];
  }
}

// Adds what keys of one page lack. rest: [2][n]
HWY_INLINE void add_bias(const KvBias& bias, size_t begin, size_t count, size_t n, float* HWY_RESTRICT rest,
                         float* HWY_RESTRICT out) {
  const FloatTag df;
  float* row = rest + n;
  turn(bias.values, n, bias, bias.pages + begin / kPagePositions * bias.dims, rest);
  for (size_t r = 0; r < count; ++r) {
    turn(rest, n, bias, bias.within + (begin % kPagePositions + r) * bias.dims, row);
    hadamard_head(row, n);
    float* key = out + r * n;
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      hn::StoreU(hn::Add(hn::LoadU(df, key + i), hn::LoadU(df, row + i)), df, key + i);
    for (; i < n; ++i) key[i] += row[i];
  }
}

// Floats that load_q4 writes for rows of n elements: a page of them, and two to work with.
HWY_INLINE size_t q4_floats(size_t n) {
  return (kPagePositions + 2) * n;
}

// Rows [begin, begin + count) of a q4 or q5 cache, all of one page, as floats, without their bias.
HWY_INLINE void load_q4_rows(const KvRows& cache, size_t begin, size_t count, size_t n,
                             float* HWY_RESTRICT out) {
  const std::byte* page = cache.pages[begin / kPagePositions];
  const size_t row_bytes = kv_row_bytes(cache.format, n), scale_bytes = kv_scale_bytes(cache.format, n);
  for (size_t r = 0; r < count; ++r) {
    const size_t row = begin % kPagePositions + r;
    const auto* codes = reinterpret_cast<const uint8_t*>(page + cache.rows + row * row_bytes);
    const auto* scales = reinterpret_cast<const uint8_t*>(page + cache.scales + row * scale_bytes);
    if (cache.format == KvFormat::q4) load_q4_row<Q4>(codes, scales, n, out + r * n);
    if (cache.format == KvFormat::q5) load_q4_row<Q5>(codes, scales, n, out + r * n);
  }
}

// The same with it: the first [count][n] of `out`, [q4_floats].
HWY_INLINE void load_q4(const KvRows& cache, size_t begin, size_t count, size_t n, float* HWY_RESTRICT out) {
  load_q4_rows(cache, begin, count, n, out);
  if (cache.bias.values != nullptr) add_bias(cache.bias, begin, count, n, out + kPagePositions * n, out);
}

}  // namespace cairn::kernels::CAIRN_TARGET
