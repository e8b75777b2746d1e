#include "video/float_runner.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace cairn::video {
namespace {

// Channels of a tile; (left, top) in the coordinates of the layers' grid, negative beyond the frame's edge.
struct Tile {
  uint32_t channels = 0;
  int64_t left = 0, top = 0, width = 0, height = 0;
  std::vector<float> values;

  Tile() = default;
  Tile(uint32_t c, int64_t l, int64_t t, int64_t w, int64_t h)
      : channels(c), left(l), top(t), width(w), height(h), values(c * static_cast<size_t>(w * h)) {}
  float* row(uint32_t c, int64_t y) {
    return values.data() + static_cast<size_t>((c * height + y - top) * width);
  }
  const float* row(uint32_t c, int64_t y) const { return const_cast<Tile*>(this)->row(c, y); }
};

float sample(const PlaneView& view, int64_t y, int64_t x) {
  y = std::clamp<int64_t>(y, 0, int64_t{view.height} - 1);
  x = std::clamp<int64_t>(x, 0, int64_t{view.width} - 1);
  return view.samples[static_cast<size_t>(y) * view.stride + static_cast<size_t>(x)];
}

float filtered(const PlaneView& view, int64_t y, int64_t x, const float* taps) {
  float sum = 0;
  for (int64_t t = 0; t < kSkipTaps; ++t)
    sum += taps[t] * sample(view, y + t / kSkipSide - 2, x + t % kSkipSide - 2);
  return sum;
}

int64_t floor_divide(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

Tile make_input(const Network& network, float peak, std::span<const PlaneView> frames, Tile tile) {
  const int64_t scale = network.on_upscaled ? network.scale : 1;
  const std::vector<float> bicubic = bicubic_taps(network.scale);
  for (uint32_t c = 0; c < tile.channels; ++c) {
    for (int64_t y = tile.top; y < tile.top + tile.height; ++y) {
      float* row = tile.row(c, y);
      for (int64_t i = 0; i < tile.width; ++i) {
        const int64_t x = tile.left + i;
        if (!network.on_upscaled) {
          row[i] = sample(frames[c], y, x) / peak - 0.5f;
          continue;
        }
        const int64_t sy = floor_divide(y, scale), sx = floor_divide(x, scale);
        const float* taps = bicubic.data() + ((y - sy * scale) * scale + x - sx * scale) * kSkipTaps;
        row[i] = std::clamp(filtered(frames[c], sy, sx, taps) / peak, 0.0f, 1.0f) - 0.5f;
      }
    }
  }
  return tile;
}

// `layer` on `in`, its rim lost; `added`: the output of the layer it adds, or null.
Tile convolve(const Layer& layer, const Tile& in, const Tile* added) {
  const int64_t k = layer.kernel, half = k / 2;
  Tile out(layer.out, in.left + half, in.top + half, in.width - 2 * half, in.height - 2 * half);
  for (uint32_t o = 0; o < layer.out; ++o) {
    const float* weights =
        layer.weights.data() + static_cast<size_t>(o) * layer.in * layer.kernel * layer.kernel;
    for (int64_t y = out.top; y < out.top + out.height; ++y) {
      float* to = out.row(o, y);
      std::fill(to, to + out.width, layer.bias[o]);
      for (uint32_t i = 0; i < layer.in; ++i) {
        for (int64_t t = 0; t < k * k; ++t) {
          const float weight = weights[i * k * k + t];
          const float* from = in.row(i, y + t / k - half) + t % k;
          for (int64_t x = 0; x < out.width; ++x) to[x] += weight * from[x];
        }
      }
      if (added != nullptr) {
        const float* from = added->row(o, y) + (out.left - added->left);
        for (int64_t x = 0; x < out.width; ++x) to[x] += from[x];
      }
      for (int64_t x = 0; layer.relu && x < out.width; ++x) to[x] = std::max(to[x], 0.0f);
    }
  }
  return out;
}

// The last layer's output on the tile; an empty tile for a network without layers.
Tile run_layers(const Network& network, float peak, std::span<const PlaneView> frames, const Rectangle& r) {
  if (network.layers.empty()) return {};
  int64_t margin = 0;
  for (const Layer& layer : network.layers) margin += layer.kernel / 2;
  const int64_t grid = network.on_upscaled ? network.scale : 1;
  std::vector<Tile> outputs(network.layers.size());
  std::vector<size_t> last_use(network.layers.size());
  for (size_t i = 0; i < network.layers.size(); ++i) {
    last_use[i] = std::max(last_use[i], i + 1);
    if (network.layers[i].add >= 0) last_use[static_cast<size_t>(network.layers[i].add)] = i;
  }
  Tile input = make_input(
      network, peak, frames,
      Tile(network.frames, r.left * grid - margin, r.top * grid - margin,
           int64_t{r.right - r.left} * grid + 2 * margin, int64_t{r.bottom - r.top} * grid + 2 * margin));
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const Tile* added = layer.add >= 0 ? &outputs[static_cast<size_t>(layer.add)] : nullptr;
    outputs[i] = convolve(layer, i == 0 ? input : outputs[i - 1], added);
    for (size_t j = 0; j < i; ++j) {
      if (last_use[j] == i) outputs[j] = {};
    }
  }
  return std::move(outputs.back());
}

}  // namespace

void run_float(const Network& network, uint32_t peak, std::span<const PlaneView> frames,
               const Rectangle& rectangle, Plane& out) {
  const auto top = static_cast<float>(peak);
  const Tile layers = run_layers(network, top, frames, rectangle);
  std::vector<float> skip = bicubic_taps(network.scale);
  for (size_t i = 0; i < skip.size(); ++i) skip[i] += network.skip[i];
  const uint32_t s = network.scale;
  for (uint32_t y = rectangle.top * s; y < std::min(rectangle.bottom * s, out.height); ++y) {
    uint16_t* row = out.row(y);
    for (uint32_t x = rectangle.left * s; x < std::min(rectangle.right * s, out.width); ++x) {
      const uint32_t phase = y % s * s + x % s;
      float value = filtered(frames[0], y / s, x / s, skip.data() + phase * kSkipTaps);
      if (network.on_upscaled && layers.channels > 0) {
        value += top * layers.row(0, y)[x - layers.left];
      } else if (layers.channels > 0) {
        value += top * layers.row(phase, y / s)[x / s - layers.left];
      }
      row[x] = static_cast<uint16_t>(std::nearbyint(std::clamp(value, 0.0f, top)));
    }
  }
}

}  // namespace cairn::video
