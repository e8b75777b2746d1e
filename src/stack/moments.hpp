#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "quantize/scheme.hpp"
#include "stack/panels.hpp"

namespace cairn::stack {

// E[x' x'ᵀ] of the rotated linear inputs x' of some consecutive layers.
class MomentCollector {
 public:
  // widths: of each input; 0 where it is not wanted.
  MomentCollector(uint32_t first_layer, uint32_t layers,
                  const std::array<uint32_t, quantize::kInputs>& widths, ThreadPool& pool);

  // rows: [tokens][width]; other layers' rows are ignored.
  void add(uint32_t layer, quantize::Input input, const float* rows, size_t tokens);
  // [width][width].
  std::vector<float> get(uint32_t layer, quantize::Input input) const;
  // The same; leaves nothing behind.
  std::vector<float> take(uint32_t layer, quantize::Input input);

  // What was summed of an input, and over how many tokens; and its like of other tokens added.
  std::span<const float> sums(uint32_t layer, quantize::Input input) const;
  uint64_t tokens(uint32_t layer, quantize::Input input) const;
  void add_sums(uint32_t layer, quantize::Input input, std::span<const float> sums, uint64_t tokens);

  // Bytes that a layer takes.
  static uint64_t bytes(const std::array<uint32_t, quantize::kInputs>& widths);

 private:
  struct Sum {
    // Strips of kernels::kStripRows columns one after another, each of the rows [0, its last column].
    std::vector<float> upper;
    uint64_t tokens = 0;
  };
  size_t index(uint32_t layer, quantize::Input input) const {
    return size_t{layer - first_} * quantize::kInputs + static_cast<size_t>(input);
  }
  uint32_t first_, layers_;
  std::array<uint32_t, quantize::kInputs> widths_;
  ThreadPool& pool_;
  std::vector<quantize::Rotation> rotations_;
  std::vector<Sum> sums_;                    // [layer][input]
  Panels rotated_;                           // [tokens][width]
  std::vector<std::vector<float>> scratch_;  // a thread's
};

// E[x²] of each channel of the linear inputs as they are, of all layers.
class ChannelCollector {
 public:
  ChannelCollector(size_t layers, const std::array<uint32_t, quantize::kInputs>& widths);
  void add(uint32_t layer, quantize::Input input, const float* rows, size_t tokens);
  // √E[x²] divided by its mean, at least 1 / 1,000, so that halves hold it and its inverse; [width].
  std::vector<float> scales(uint32_t layer, quantize::Input input) const;
  // The mean by which those were divided.
  double mean(uint32_t layer, quantize::Input input) const;

 private:
  std::vector<std::vector<double>> sums_;  // [layer][input][width]
  std::vector<uint64_t> tokens_;
};

}  // namespace cairn::stack
