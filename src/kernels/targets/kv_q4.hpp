// Rows of the KV cache in 4 bits: what they are made of, and back as floats.
#pragma once

#include "kernels/targets/hadamard.hpp"
#include "kernels/targets/kv_rows.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// A group's values are scale · level, the scale a bfloat16 (float's upper half: its range, which an f16 has
// not) and the levels those of Lloyd's and Max's quantiser of a normal distribution with the largest at 127
// (Max 1960, Quantizing for minimum distortion, table I), because that is what a rotated head's elements are
// close to: 1 dB less noise than 16 equal steps. A code is a level's number, with 8 for the negative ones.
constexpr size_t kLevels = 8;
alignas(16) constexpr int8_t kQ4Values[2 * kLevels] = {6,  18,  31,  44,  58,  75,  96,  127,
                                                       -6, -18, -31, -44, -58, -75, -96, -127};
// Scales that are tried, as parts of the one whose largest level is the group's largest element; the one with
// the least squared error is taken.
constexpr float kQ4Scales[] = {0.65f, 0.7f, 0.75f, 0.8f, 0.85f, 0.9f, 0.95f, 1.0f, 1.05f, 1.1f, 1.15f, 1.2f};

HWY_INLINE float from_bfloat16(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
// The nearest, ties to even; x is finite and far from the largest float.
HWY_INLINE uint16_t to_bfloat16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// The level nearest to a ≥ 0, and its number.
struct Nearest {
  VF level, number;
};
HWY_INLINE Nearest nearest_level(VF a) {
  const FloatTag df;
  Nearest result{hn::Set(df, kQ4Values[0]), hn::Zero(df)};
  for (size_t i = 1; i < kLevels; ++i) {
    const float low = kQ4Values[i - 1], high = kQ4Values[i];
    const auto above = hn::Gt(a, hn::Set(df, (low + high) / 2));
    result.level = hn::Add(result.level, hn::IfThenElseZero(above, hn::Set(df, high - low)));
    result.number = hn::Add(result.number, hn::IfThenElseZero(above, hn::Set(df, 1.0f)));
  }
  return result;
}

// count ≤ kQ4Group elements into (count + 1) / 2 bytes: element j in byte j's lower half, the elements of the
// second half in the upper ones. A group that is not finite gets a scale that is not a number.
HWY_INLINE void store_q4_group(const float* x, size_t count, uint8_t* codes, uint16_t* scale) {
  static_assert(kQ4Group % kLanes == 0);
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
  if (!(total <= 3e38f)) {
    *scale = 0x7fc0;
  } else if (largest < 1e-30f) {
    *scale = 0;
  } else {
    for (const float part : kQ4Scales) {
      const float candidate = from_bfloat16(to_bfloat16(largest / kQ4Values[kLevels - 1] * part));
      VF errors = hn::Zero(df);
      for (size_t i = 0; i < kQ4Group; i += kLanes) {
        const VF a = hn::Mul(hn::LoadU(df, sizes + i), hn::Set(df, 1 / candidate));
        const VF error = hn::Mul(hn::Sub(a, nearest_level(a).level), hn::LoadU(df, there + i));
        errors = hn::MulAdd(error, error, errors);
      }
      // Squared scales may be too small for a float.
      const float error =
          candidate * hn::GetLane(hn::Sqrt(hn::Set(df, hn::GetLane(hn::SumOfLanes(df, errors)))));
      if (best == 0 || error < least) best = candidate, least = error;
    }
    *scale = to_bfloat16(best);
  }
  int32_t numbers[kQ4Group + 1] = {};
  const VF inverse = hn::Set(df, best > 0 ? 1 / best : 0.0f);
  for (size_t i = 0; i < kQ4Group; i += kLanes)
    hn::StoreU(hn::ConvertTo(di, nearest_level(hn::Mul(hn::LoadU(df, sizes + i), inverse)).number), di,
               numbers + i);
  for (size_t i = 0; i < count; ++i) numbers[i] += x[i] < 0 ? static_cast<int32_t>(kLevels) : 0;
  const size_t half = (count + 1) / 2;
  for (size_t i = 0; i < half; ++i) {
    const int32_t upper = half + i < count ? numbers[half + i] : 0;
    codes[i] = static_cast<uint8_t>(numbers[i] | upper << 4);
  }
}

// Elements of a row from the begin of a group on.
HWY_INLINE void store_q4(const float* row, size_t n, uint8_t* codes, uint16_t* scales) {
  for (size_t i = 0; i < n; i += kQ4Group) {
    const size_t count = n - i < kQ4Group ? n - i : kQ4Group;
    store_q4_group(row + i, count, codes + i / 2, scales + i / kQ4Group);
  }
}

HWY_INLINE void load_q4_row(const uint8_t* codes, const uint16_t* scales, size_t n, float* HWY_RESTRICT out) {
  const FloatTag df;
  const hn::FixedTag<uint8_t, kQ4Group / 2> d8;
  const auto table = hn::BitCast(d8, hn::Load(hn::FixedTag<int8_t, kQ4Group / 2>(), kQ4Values));
  size_t i = 0;
  for (; i + kQ4Group <= n; i += kQ4Group) {
    alignas(16) uint8_t levels[kQ4Group];
    const auto both = hn::LoadU(d8, codes + i / 2);
    hn::Store(hn::TableLookupBytes(table, hn::And(both, hn::Set(d8, uint8_t{15}))), d8, levels);
    hn::Store(hn::TableLookupBytes(table, hn::ShiftRight<4>(both)), d8, levels + kQ4Group / 2);
    const VF scale = hn::Set(df, from_bfloat16(scales[i / kQ4Group]));
    for (size_t j = 0; j < kQ4Group; j += kLanes)
      hn::StoreU(hn::Mul(ByteRows::load(reinterpret_cast<const int8_t*>(levels) + j), scale), df,
                 out + i + j);
  }
  if (i == n) return;
  const float scale = from_bfloat16(scales[i / kQ4Group]);
  const size_t half = (n - i + 1) / 2;
  for (size_t j = 0; i + j < n; ++j) {
    const uint8_t both = codes[i / 2 + j % half];
    out[i + j] = scale * static_cast<float>(kQ4Values[j < half ? both & 15 : both >> 4]);
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

// Rows [begin, begin + count) of a q4 cache, all of one page, as floats: the first [count][n] of `out`.
HWY_INLINE void load_q4(const KvRows& cache, size_t begin, size_t count, size_t n, float* HWY_RESTRICT out) {
  const std::byte* page = cache.pages[begin / kPagePositions];
  const size_t row_bytes = kv_row_bytes(KvFormat::q4, n), scales = kv_scale_bytes(KvFormat::q4, n);
  for (size_t r = 0; r < count; ++r) {
    const size_t row = begin % kPagePositions + r;
    load_q4_row(reinterpret_cast<const uint8_t*>(page + cache.rows + row * row_bytes),
                reinterpret_cast<const uint16_t*>(page + cache.scales + row * scales), n, out + r * n);
  }
  if (cache.bias.values != nullptr) add_bias(cache.bias, begin, count, n, out + kPagePositions * n, out);
}

}  // namespace cairn::kernels::CAIRN_TARGET
