// Random blocks of any encoding, made like those of tools/make_encoding_golden.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "formats/encoding.hpp"
#include "kernels/kernels.hpp"

namespace cairn::kernels::test {

inline std::vector<uint8_t> random_bytes(uint64_t seed, size_t count) {
  std::vector<uint8_t> out(count);
  for (size_t i = 0; i * 8 < count; ++i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15;  // SplitMix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    z ^= z >> 31;
    std::memcpy(out.data() + i * 8, &z, std::min<size_t>(8, count - i * 8));
  }
  return out;
}

// Byte offsets of the 16-bit floats in a block.
inline std::vector<size_t> halves(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_1:
    case Encoding::q5_1:
    case Encoding::q4_k:
    case Encoding::q5_k:
      return {0, 2};
    case Encoding::q2_k:
      return {80, 82};
    case Encoding::q3_k:
      return {108};
    case Encoding::q6_k:
      return {208};
    case Encoding::tq1_0:
      return {52};
    case Encoding::tq2_0:
      return {64};
    case Encoding::f32:
    case Encoding::bf16:
    case Encoding::mxfp4:
    case Encoding::nvfp4:
    case Encoding::iq1_m:  // whose one is not in one piece
      return {};
    default:
      return {0};
  }
}

// Infinities and NaN lose an exponent bit.
inline void make_finite(const EncodingInfo& e, std::span<uint8_t> blocks) {
  for (size_t block = 0; block < blocks.size(); block += e.block_bytes) {
    for (const size_t at : halves(e.encoding)) {
      uint8_t& high = blocks[block + at + 1];
      if ((high & 0x7C) == 0x7C) high &= 0xBF;
    }
    if (e.encoding == Encoding::iq1_m && (blocks[block + 55] & 0x70) == 0x70 &&
        (blocks[block + 53] & 0xC0) == 0xC0)
      blocks[block + 55] &= 0xBF;
  }
}

// Makes every weight's magnitude moderate, so that a product of many has no overflow.
inline void make_moderate(const EncodingInfo& e, std::span<uint8_t> blocks) {
  make_finite(e, blocks);
  for (size_t block = 0; block < blocks.size(); block += e.block_bytes) {
    uint8_t* b = blocks.data() + block;
    if (e.encoding == Encoding::f32) b[3] = static_cast<uint8_t>((b[3] & 0x80) | (0x38 + b[3] % 8));
    if (e.encoding == Encoding::bf16) b[1] = static_cast<uint8_t>((b[1] & 0x80) | (0x38 + b[1] % 8));
    if (e.encoding == Encoding::mxfp4) b[0] = static_cast<uint8_t>(96 + b[0] % 64);
  }
}

inline std::vector<uint8_t> read_data(const std::string& path) {
  std::ifstream in(std::string(CAIRN_TEST_DATA) + "/encodings/" + path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Memory of exactly `size` bytes (so that the address sanitizer sees a read beyond), starting `shift` bytes
// after a 64-byte boundary.
class Exact {
 public:
  Exact(std::span<const uint8_t> bytes, size_t shift)
      : memory_(static_cast<uint8_t*>(::operator new (bytes.size() + shift, std::align_val_t{64}))),
        shift_(shift) {
    if (!bytes.empty()) std::memcpy(data(), bytes.data(), bytes.size());
  }
  uint8_t* data() { return memory_.get() + shift_; }

 private:
  struct Delete {
    void operator()(uint8_t* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<uint8_t, Delete> memory_;
  size_t shift_;
};

struct Activations {
  // k values, of which an eighth are ±127 and some groups are all zeros.
  Activations(uint64_t seed, size_t k)
      : values_(((k + 63) / 64) * 64), scales_(k / kGroup), sums_(k / kGroup) {
    const std::vector<uint8_t> random = random_bytes(seed, k + 4 * scales_.size());
    int8_t* v = reinterpret_cast<int8_t*>(values_.data());
    for (size_t i = 0; i < k; ++i) {
      const int value =
          random[i] % 8 == 0 ? (random[i] & 128 ? 127 : -127) : static_cast<int>(random[i]) - 128;
      v[i] = static_cast<int8_t>(std::max(value, -127));
    }
    for (size_t g = 0; g < scales_.size(); ++g) {
      if (g % 7 == 3) std::memset(v + g * kGroup, 0, kGroup);
      if (g % 7 == 5) std::memset(v + g * kGroup, 127, kGroup);
      if (g % 7 == 6) std::memset(v + g * kGroup, -127, kGroup);
      scales_[g] = 0.001f + 0.01f * static_cast<float>(random[k + g]);
      int total = 0;
      for (size_t i = 0; i < kGroup; ++i) total += v[g * kGroup + i];
      sums_[g] = scales_[g] * static_cast<float>(total);
    }
    aligned_ = std::make_unique<Exact>(values_, 0);
  }
  // What rounding x left: in finer steps.
  Activations(uint64_t seed, const Activations& x, size_t k) : Activations(seed, k) {
    for (size_t g = 0; g < scales_.size(); ++g) {
      sums_[g] *= x.scales_[g] / kFineSteps / scales_[g];
      scales_[g] = x.scales_[g] / kFineSteps;
    }
  }
  QuantizedVector view() const {
    return {reinterpret_cast<const int8_t*>(aligned_->data()), scales_.data(), sums_.data()};
  }

 private:
  std::vector<uint8_t> values_;
  std::vector<float> scales_, sums_;
  std::unique_ptr<Exact> aligned_;
};

}  // namespace cairn::kernels::test
