// The steps of the grids that weights are rounded to: one an output channel.
#pragma once

#include <span>
#include <vector>

#include "video/train/parameters.hpp"

namespace cairn::video {

// value rounded to a multiple of scale, at most `limit` of them; 0 when scale is.
float to_grid(float value, float scale, int limit);

// weights: [rows][out]. For each channel the scale (quantise.hpp's) that leaves the least squared error.
std::vector<float> least_error_scales(std::span<const float> weights, uint32_t rows, uint32_t out, int limit);

// Makes the steps of all layers (not the 5×5 filter's) coarser, by three quarters of an octave on average and
// so three quarters of a bit a weight, where it hurts least. Noise of a step Δ on a weight costs s · Δ² / 12,
// s being the second derivative of the loss by it, and spares log2 Δ bits: of all steps with the same sum of
// bits those in proportion to 1 / √s cost least. For s stands the mean squared gradient of the channel's
// weights. No step becomes finer, none more than twice as coarse.
// scales: [layer][out], scale_value()s. squares: by Parameters::values(), mean squared gradients.
void coarsen(std::vector<std::vector<float>>& scales, const WeightLayout& layout,
             std::span<const float> squares);

}  // namespace cairn::video
