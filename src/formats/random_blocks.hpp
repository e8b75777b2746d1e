#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/random.hpp"
#include "formats/encoding.hpp"

namespace cairn {

// Random weights, made directly as encoded blocks: the codes are random bits, the scales are set so that the
// values have mean 0 and a standard deviation of about kDeviation. The same seed gives the same bytes.
class RandomBlocks {
 public:
  static constexpr double kDeviation = 0.02;

  explicit RandomBlocks(uint64_t seed);

  // Fills whole blocks: out.size() is a multiple of the encoding's block_bytes.
  void fill(Encoding encoding, std::span<std::byte> out);
  // Normally distributed floats (the sum of twelve uniforms).
  float normal(double mean, double deviation);

 private:
  template <class T>
  void fill_from_table(const std::array<T, 4096>& table, std::span<std::byte> out);

  SplitMix64 random_;
  // Normally distributed values from which unblocked encodings draw.
  std::array<float, 4096> f32_;
  std::array<uint16_t, 4096> f16_, bf16_;
};

}  // namespace cairn
