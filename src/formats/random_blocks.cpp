#include "formats/random_blocks.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/half.hpp"

namespace cairn {
namespace {

constexpr double kRms = RandomBlocks::kDeviation;

// Root mean squares of uniformly random codes, by which each encoding's scale is divided.
constexpr double kRms3 = 2.345;                    // 0 … 7 minus 4
constexpr double kRms4 = 4.637, kCentred4 = 4.61;  // 0 … 15 minus 8; minus 7.5
constexpr double kRms5 = 9.247, kCentred5 = 9.233;
constexpr double kRms6 = 18.48;         // 0 … 63 minus 32
constexpr double kRms8 = 73.6;          // -127 … 127
constexpr double kCentred2 = 1.118;     // 0 … 3 minus 1.5
constexpr double kRmsNonlinear = 67.4;  // IQ4_NL's table
// Those of whole blocks whose d is 1.
constexpr double kRmsIq2Xxs = 53.4, kRmsIq2Xs = 55.9, kRmsIq2S = 56.4, kRmsIq3Xxs = 142.5, kRmsIq3S = 140.2;
constexpr double kRmsIq1 = 7.2, kRmsTrits = 0.817;

uint16_t load16(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, 2);
  return value;
}
void store16(std::byte* at, uint16_t value) {
  std::memcpy(at, &value, 2);
}

// Turns the random bits at `at` into a scale near `value`, up to an eighth off so that blocks differ as real
// ones do. Its sign is random too where the codes are not centred, and only that makes the mean 0.
float set_scale(std::byte* at, double value, bool random_sign) {
  const uint16_t random = load16(at);
  const double factor = (random_sign && (random & 0x8000) ? -1 : 1) * (0.875 + (random & 0xff) * 0x1p-10);
  const uint16_t half = to_half(static_cast<float>(value * factor));
  store16(at, half);
  return from_half(half);
}
void set_half(std::byte* at, double value) {
  store16(at, to_half(static_cast<float>(value)));
}

// IQ1_M's, which lies in the upper four bits of four u16.
void set_iq1_m_scale(std::byte* shorts) {
  std::byte whole[2] = {shorts[0], shorts[2]};
  set_scale(whole, kRms / kRmsIq1, true);
  for (int i = 0; i < 4; ++i) {
    const std::byte nibble = i % 2 == 0 ? whole[i / 2] << 4 : whole[i / 2] & std::byte{0xF0};
    shorts[2 * i + 1] = (shorts[2 * i + 1] & std::byte{15}) | nibble;
  }
}

// Q4_K's and Q5_K's eight 6-bit scales and minimums in 12 bytes: each minimum equals its scale, which lies in
// [32, 63], so that d * scale * code - dmin * minimum is centred when dmin = d * (largest code) / 2.
void set_k_scales(std::byte* scales) {
  for (int j = 0; j < 4; ++j) {
    const auto low = (scales[j] & std::byte{31}) | std::byte{32};
    const auto high = (scales[j + 4] & std::byte{31}) | std::byte{32};
    scales[j] = scales[j + 4] = low | (high >> 4) << 6;
    scales[j + 8] = (high & std::byte{15}) | (high & std::byte{15}) << 4;
  }
}
constexpr double kKScaleRms = 48.4;

// Block layouts are those of ggml-common.h. Gives the random bytes of one block sane scales.
void set_block_scales(Encoding encoding, std::byte* block) {
  switch (encoding) {
    case Encoding::q4_0:
      set_scale(block, kRms / kRms4, true);
      return;
    case Encoding::q4_1:
      set_half(block + 2, -7.5 * set_scale(block, kRms / kCentred4, false));
      return;
    case Encoding::q5_0:
      set_scale(block, kRms / kRms5, true);
      return;
    case Encoding::q5_1:
      set_half(block + 2, -15.5 * set_scale(block, kRms / kCentred5, false));
      return;
    case Encoding::q8_0:
      set_scale(block, kRms / kRms8, true);
      for (int i = 2; i < 34; ++i)
        if (block[i] == std::byte{0x80}) block[i] = std::byte{0x81};  // quantizers never write -128
      return;
    case Encoding::q2_k: {
      // Scales in [8, 15], each minimum equal to its scale.
      constexpr double kScaleRms = 11.7;
      for (int i = 0; i < 16; ++i) {
        const auto scale = (block[i] & std::byte{7}) | std::byte{8};
        block[i] = scale | scale << 4;
      }
      set_half(block + 82, 1.5 * set_scale(block + 80, kRms / (kCentred2 * kScaleRms), false));
      return;
    }
    case Encoding::q3_k:  // 6-bit scales minus 32: random ones are centred already
      set_scale(block + 108, kRms / (kRms3 * kRms6), true);
      return;
    case Encoding::q4_k:
      set_k_scales(block + 4);
      set_half(block + 2, 7.5 * set_scale(block, kRms / (kCentred4 * kKScaleRms), false));
      return;
    case Encoding::q5_k:
      set_k_scales(block + 4);
      set_half(block + 2, 15.5 * set_scale(block, kRms / (kCentred5 * kKScaleRms), false));
      return;
    case Encoding::q6_k:  // int8 scales
      set_scale(block + 208, kRms / (kRms8 * kRms6), true);
      return;
    case Encoding::iq2_xxs:
      set_scale(block, kRms / kRmsIq2Xxs, true);
      return;
    case Encoding::iq2_xs:
      set_scale(block, kRms / kRmsIq2Xs, true);
      return;
    case Encoding::iq2_s:
      set_scale(block, kRms / kRmsIq2S, true);
      return;
    case Encoding::iq3_xxs:
      set_scale(block, kRms / kRmsIq3Xxs, true);
      return;
    case Encoding::iq3_s:
      set_scale(block, kRms / kRmsIq3S, true);
      return;
    case Encoding::iq1_s:
      set_scale(block, kRms / kRmsIq1, true);
      return;
    case Encoding::iq1_m:
      set_iq1_m_scale(block + 48);
      return;
    case Encoding::tq1_0:
      set_scale(block + 52, kRms / kRmsTrits, true);
      return;
    case Encoding::tq2_0: {
      constexpr double kRms012 = 0.866;  // 0, 1, 2 and 2 minus 1: quantizers never write 3
      for (int i = 0; i < 64; ++i) block[i] &= ~(block[i] & block[i] >> 1 & std::byte{0x55});
      set_scale(block + 64, kRms / kRms012, true);
      return;
    }
    case Encoding::q1_0:
      set_scale(block, kRms, true);
      return;
    case Encoding::iq4_nl:
      set_scale(block, kRms / kRmsNonlinear, true);
      return;
    case Encoding::iq4_xs:
      set_scale(block, kRms / (kRms6 * kRmsNonlinear), true);
      return;
    case Encoding::mxfp4:  // a power of two, 2^-8 or 2^-7, times values whose root mean square is 2.93
      block[0] = static_cast<std::byte>(119 + std::to_integer<int>(block[0] & std::byte{1}));
      return;
    case Encoding::nvfp4:  // 3 or 4 times 2^-10, times values whose root mean square is 5.85
      for (int i = 0; i < 4; ++i)
        block[i] = static_cast<std::byte>(3 + std::to_integer<int>(block[i] & std::byte{1}));
      return;
    case Encoding::f32:
    case Encoding::f16:
    case Encoding::bf16:
      return;
  }
}

}  // namespace

RandomBlocks::RandomBlocks(uint64_t seed) : random_(seed) {
  for (size_t i = 0; i < f32_.size(); ++i) {
    f32_[i] = normal(0, kRms);
    f16_[i] = to_half(f32_[i]);
    bf16_[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(f32_[i]) >> 16);
  }
}

float RandomBlocks::normal(double mean, double deviation) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random_.uniform();
  return static_cast<float>(mean + deviation * sum);
}

template <class T>
void RandomBlocks::fill_from_table(const std::array<T, 4096>& table, std::span<std::byte> out) {
  uint64_t random = 0;
  for (size_t at = 0, left = 0; at < out.size(); at += sizeof(T), random >>= 12, --left) {
    if (left == 0) {
      random = random_.next();
      left = 5;
    }
    std::memcpy(out.data() + at, &table[random & 4095], sizeof(T));
  }
}

void RandomBlocks::fill(Encoding encoding, std::span<std::byte> out) {
  if (encoding == Encoding::f32) return fill_from_table(f32_, out);
  if (encoding == Encoding::f16) return fill_from_table(f16_, out);
  if (encoding == Encoding::bf16) return fill_from_table(bf16_, out);
  for (size_t at = 0; at < out.size(); at += 8) {
    const uint64_t random = random_.next();
    std::memcpy(out.data() + at, &random, std::min<size_t>(8, out.size() - at));
  }
  const size_t block_bytes = info(encoding).block_bytes;
  for (size_t at = 0; at < out.size(); at += block_bytes) set_block_scales(encoding, out.data() + at);
}

}  // namespace cairn
