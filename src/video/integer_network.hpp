// A network as the int8 kernels want it (kernels/conv.hpp): weights in their order, every float factor folded
// into one multiplier an output.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv.hpp"
#include "video/network.hpp"

namespace cairn::video {

// One of the layers before the last.
struct IntegerLayer {
  uint32_t kernel = 3;
  uint32_t groups = 1;  // of four input channels; of the first layer: input frames, or twice as many (halves)
  uint32_t outputs = 4;  // a multiple of 4
  uint32_t steps = 0;
  std::vector<int8_t> weights;
  std::vector<int32_t> bias;
  std::vector<float> multiplier;
  uint8_t largest = 255, together = 1;
  kernels::ConvLayer view() const {
    return {steps, outputs, weights.data(), bias.data(), multiplier.data(), largest, together};
  }
};

struct IntegerTail {
  uint32_t kernel = 3, groups = 0, steps = 0, scale = 1;
  std::vector<int8_t> weights;
  std::vector<float> multiplier, offset;
  std::vector<int16_t> skip;
  float skip_multiplier = 0, peak = 255;
  uint8_t together = 1;
  kernels::ConvTail view() const {
    return {steps,       scale,           weights.data(), multiplier.data(), offset.data(),
            skip.data(), skip_multiplier, peak,           together};
  }
};

struct IntegerNetwork {
  uint32_t frames = 1;
  // The first layer takes each sample as the sum of two halves: with eight-bit weights a pair of products of
  // whole samples would not fit 16 bits.
  bool halves = false;
  std::vector<IntegerLayer> hidden;  // empty: the 5×5 filter alone
  IntegerTail tail;
};

// Quantised chains: a 3×3 head, ReLU after every layer but the last, nothing added, on the small grid.
bool runs_in_integers(const Network& network);

// network: valid (validate()), and runs_in_integers(). bits: of the samples, 8 or 10. Error format, naming
// `what`, where a sum could leave 32 bits.
IntegerNetwork make_integer(const Network& network, uint32_t bits, const std::string& what);

}  // namespace cairn::video
