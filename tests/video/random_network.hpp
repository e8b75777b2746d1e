// Networks of random weights, and pictures to run them on.
#pragma once

#include <cmath>
#include <random>
#include <string_view>

#include "base/half.hpp"
#include "video/frame.hpp"
#include "video/network.hpp"

namespace cairn::video {

// Weights of a size that keeps signals alive; `bits` 0: floats.
inline Network random_network(std::string_view name, uint32_t scale, uint32_t bits, uint32_t seed) {
  std::mt19937 random(seed);
  const auto uniform = [&](double low, double high) {
    return static_cast<float>(std::uniform_real_distribution<double>(low, high)(random));
  };
  Network network = make_network(parse_architecture(name), scale);
  network.weight_bits = bits;
  for (Layer& layer : network.layers) {
    const double size = 1.7 / std::sqrt(static_cast<double>(layer.in * layer.kernel * layer.kernel));
    for (float& w : layer.weights) w = uniform(-size, size);
    for (float& b : layer.bias) b = bits == 0 ? uniform(-0.1, 0.1) : round_to_half(uniform(-0.1, 0.1));
    if (&layer == &network.layers.back()) {
      for (float& w : layer.weights) w *= 0.1f;
    }
    if (bits == 0) continue;
    if (layer.relu) layer.activation_max = 1.5f;
    const int most = (1 << (bits - 1)) - 1;
    const size_t each = layer.weights.size() / layer.out;
    for (size_t o = 0; o < layer.out; ++o) {
      float largest = 1e-6f;
      for (size_t i = 0; i < each; ++i) largest = std::max(largest, std::abs(layer.weights[o * each + i]));
      const float unit = round_to_half(largest / static_cast<float>(most));
      layer.scales.push_back(unit);
      for (size_t i = 0; i < each; ++i) {
        const auto code = static_cast<int8_t>(
            std::clamp(std::nearbyint(layer.weights[o * each + i] / unit), -1.0f * most, 1.0f * most));
        layer.codes.push_back(code);
        layer.weights[o * each + i] = static_cast<float>(code) * unit;
      }
    }
  }
  const float unit = round_to_half(0.0007f);
  for (float& tap : network.skip) {
    const auto code = static_cast<int8_t>(uniform(-60, 60));
    tap = static_cast<float>(code) * unit;
    if (bits != 0) network.skip_codes.push_back(code);
  }
  if (bits != 0) network.skip_scales.assign(static_cast<size_t>(scale) * scale, unit);
  return network;
}

// Slopes, an edge and some noise.
inline Frame random_frame(const Format& format, uint32_t seed) {
  std::mt19937 random(seed);
  Frame frame;
  frame.allocate(format);
  const auto peak = static_cast<int>(format.peak());
  for (size_t p = 0; p < format.planes(); ++p) {
    Plane& plane = frame.planes[p];
    for (uint32_t y = 0; y < plane.height; ++y) {
      for (uint32_t x = 0; x < plane.width; ++x) {
        int value = static_cast<int>((x * 3 + y * 5 + seed) % 97 * static_cast<unsigned>(peak) / 97);
        if ((x / 7 + y / 5) % 2 == 0) value = peak - value;
        value += std::uniform_int_distribution<int>(-peak / 20, peak / 20)(random);
        plane.row(y)[x] = static_cast<uint16_t>(std::clamp(value, 0, peak));
      }
    }
  }
  return frame;
}

}  // namespace cairn::video
