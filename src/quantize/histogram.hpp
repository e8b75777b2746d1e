#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace cairn::quantize {

// How often magnitudes occur: 128 bins an octave from 2^-20 to 2^20, so that any number of activations takes
// 40 KiB and a percentile is off by at most 0.8 %. Smaller magnitudes count as the lowest bin, larger ones
// as the highest.
class MagnitudeHistogram {
 public:
  static constexpr uint32_t kBins = 40 * 128;

  MagnitudeHistogram() : counts_(kBins) {}
  // x: finite. Its sign does not matter.
  void add(float x) { ++counts_[bin(x)]; }
  void merge(const MagnitudeHistogram& other);
  void clear();
  uint64_t total() const;
  bool operator==(const MagnitudeHistogram&) const = default;

  // The magnitude that `percent` of all magnitudes do not exceed, interpolated within its bin; 0 when empty.
  float percentile(double percent) const;
  // The t whose scale t / 127 gives the least squared error of clamp(round(x / s), ±127) · s: what rounding
  // costs below t against what clamping costs above it. At most `maximum`.
  float least_error_clip(float maximum) const;

  std::vector<uint64_t>& counts() { return counts_; }  // [kBins], for checkpoints
  const std::vector<uint64_t>& counts() const { return counts_; }

 private:
  static constexpr uint32_t kShift = 16;               // leaves 7 bits of the mantissa
  static constexpr uint32_t kFirst = (127 - 20) << 7;  // 2^-20
  static float edge(uint32_t bin) { return std::bit_cast<float>((bin + kFirst) << kShift); }
  static uint32_t bin(float x) {
    const uint32_t top = (std::bit_cast<uint32_t>(x) & 0x7fffffffu) >> kShift;
    return top < kFirst ? 0 : top - kFirst < kBins ? top - kFirst : kBins - 1;
  }

  std::vector<uint64_t> counts_;
};

}  // namespace cairn::quantize
