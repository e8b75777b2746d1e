#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// Int8 convolutions of image rows. A row holds its channels in groups of four, [group][x][4] bytes, so that
// one dot product of four bytes takes four channels of a pixel, and shifting by a pixel is shifting by four
// bytes. Every function computes `pixels`, a multiple of step_pixels, from the x that its pointers point to;
// what lies beyond an image (or is of no interest) may hold anything.
struct ConvLayer {
  size_t steps;             // dot products for each output: (taps of the filter) × (groups of input)
  size_t outputs;           // channels, a multiple of 4
  const int8_t* weights;    // [outputs / 4][steps][4 outputs][4 inputs]
  const int32_t* bias;      // [outputs], where the sums start
  const float* multiplier;  // [outputs]; |sum · multiplier| < 2^31
  uint8_t largest;          // an output is clamp(round(sum · multiplier), 0, largest)
  // How many steps' pairs of products a 16-bit sum holds (1 … 4), whatever the input's values are; 0: not
  // even one. Instruction sets without VNNI rely on it.
  uint8_t together;
};

constexpr size_t kSkipRows = 5, kSkipPairs = 3;  // 5 × 5 taps, the sixth of each row zero

// The last layer: `scale`² outputs of a pixel, each a sample of the enlarged image.
// sample(phase) = clamp(round(sum · multiplier[phase] + skip_sum · skip_multiplier + offset[phase]), 0, peak)
struct ConvTail {
  size_t steps;  // 0: none but the 5×5 filter
  size_t scale;  // 1 … 4
  // [block][steps][outputs of a block][4]; a block is the phases of one row, or all four of scale 2.
  const int8_t* weights;
  const float* multiplier;  // [scale²]
  const float* offset;      // [scale²], in samples
  const int16_t* skip;      // [scale²][5][3][2]
  float skip_multiplier;
  float peak;
  uint8_t together;  // as above
};

struct ConvKernels {
  size_t step_pixels;
  // out[group] are rows. inputs: [steps], each where pixel 0's four bytes of that step are.
  void (*hidden)(const ConvLayer& layer, const uint8_t* const* inputs, size_t pixels,
                 uint8_t* const* outputs);
  // out[dy]: `pixels` · scale samples. rows[5]: pairs (below) of image rows y − 2 … y + 2, readable from
  // pixel −2 on to pixels + 2.
  void (*tail)(const ConvTail& tail, const uint8_t* const* inputs, const uint32_t* const* rows, size_t pixels,
               uint16_t* const* out);
  // What the first layer and the 5×5 filter read: with p the samples, from pixel −1 to `pixels` valid,
  // taps[x] = {b[x − 1], b[x], b[x + 1], 0}, b = p or the upper eight bits, rounded, if `shift` is 2; when
  // rests is not null, taps takes ⌊b / 2⌋ and rests takes b − ⌊b / 2⌋: halves that no 16-bit sum overflows
  // with. pairs[x] = p[x] + 65,536 · p[x + 1]. taps, pairs may be null.
  void (*expand)(const uint16_t* samples, size_t pixels, unsigned shift, uint8_t* taps, uint8_t* rests,
                 uint32_t* pairs);
};

}  // namespace cairn::kernels
