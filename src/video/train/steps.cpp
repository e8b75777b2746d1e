#include "video/train/steps.hpp"

#include <algorithm>
#include <cmath>

#include "video/quantise.hpp"

namespace cairn::video {
namespace {

// In eighths of an octave, as scales are coded. At 5 bits a sixth of a network's bytes for 0.003 to 0.007 dB
// (docs/video.md): a codec gives as much for those bytes where the video takes 100 to 200 kB, more below.
constexpr double kCoarser = 6, kMostCoarser = 8;

}  // namespace

float to_grid(float value, float scale, int limit) {
  if (scale == 0) return 0;
  return scale *
         std::clamp(std::nearbyint(value / scale), static_cast<float>(-limit), static_cast<float>(limit));
}

std::vector<float> least_error_scales(std::span<const float> weights, uint32_t rows, uint32_t out,
                                      int limit) {
  std::vector<float> scales(out, 0.0f);
  for (size_t o = 0; o < out; ++o) {
    float most = 0;
    for (size_t r = 0; r < rows; ++r) most = std::max(most, std::abs(weights[r * out + o]));
    double least = 0;
    const int whole = scale_code(most / static_cast<float>(limit));
    for (int code = whole - 8; most > 0 && code <= whole + 1; ++code) {  // from half the range kept to all
      const float scale = scale_value(static_cast<int8_t>(std::max(code, -112)));
      double error = 0;
      for (size_t r = 0; r < rows; ++r) {
        const float w = weights[r * out + o], difference = w - to_grid(w, scale, limit);
        error += difference * difference;
      }
      if (code == whole - 8 || error < least) least = error, scales[o] = scale;
    }
  }
  return scales;
}

void coarsen(std::vector<std::vector<float>>& scales, const WeightLayout& layout,
             std::span<const float> squares) {
  struct Channel {
    float* scale;
    double code, wanted, weights;  // wanted: up to a number that all have in common
  };
  std::vector<Channel> channels;
  double weights = 0;
  for (size_t i = 0; i + 1 < layout.parts.size(); ++i) {
    const WeightPart& part = layout.parts[i];
    for (size_t o = 0; o < part.out; ++o) {
      if (scales[i][o] == 0) continue;
      double square = 0;
      for (size_t r = 0; r < part.rows; ++r) square += squares[part.weights + r * part.out + o];
      square /= part.rows * static_cast<double>(part.gain) * part.gain;  // of the weights, not of the values
      channels.push_back({&scales[i][o], static_cast<double>(scale_code(scales[i][o])),
                          -4 * std::log2(std::max(square, 1e-30)), static_cast<double>(part.rows)});
      weights += part.rows;
    }
  }
  const auto code = [](const Channel& c, double common) {
    return std::clamp(c.wanted + common, c.code, c.code + kMostCoarser);
  };
  double low = -1000, high = 1000;  // of what all have in common, found by bisection
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    double coarser = 0;
    for (const Channel& c : channels) coarser += c.weights * (code(c, middle) - c.code);
    (coarser < kCoarser * weights ? low : high) = middle;
  }
  for (const Channel& c : channels) *c.scale = scale_value(static_cast<int8_t>(std::lround(code(c, low))));
}

}  // namespace cairn::video
