// run_reference(): the meaning of a network, plain and in double precision.
#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "video/network.hpp"

namespace cairn::video {
namespace {

// A stack of planes that knows where its top left corner is in the frame's coordinates (negative beyond it).
struct Planes {
  uint32_t channels = 0;
  int64_t left = 0, top = 0, width = 0, height = 0;
  std::vector<double> values;
  double& at(uint32_t c, int64_t y, int64_t x) {
    return values[static_cast<size_t>((c * height + y - top) * width + x - left)];
  }
  double at(uint32_t c, int64_t y, int64_t x) const {
    return values[static_cast<size_t>((c * height + y - top) * width + x - left)];
  }
};

Planes make_planes(uint32_t channels, int64_t margin, int64_t width, int64_t height) {
  Planes planes{channels, -margin, -margin, width + 2 * margin, height + 2 * margin, {}};
  planes.values.assign(static_cast<size_t>(channels * planes.width * planes.height), 0.0);
  return planes;
}

double sample(const PlaneView& view, int64_t y, int64_t x, double peak) {
  y = std::clamp<int64_t>(y, 0, view.height - 1);
  x = std::clamp<int64_t>(x, 0, view.width - 1);
  return view.samples[static_cast<size_t>(y) * view.stride + static_cast<size_t>(x)] / peak;
}

double filtered(const PlaneView& view, int64_t y, int64_t x, const float* taps, double peak) {
  double sum = 0;
  for (int64_t tap = 0; tap < kSkipTaps; ++tap)
    sum += taps[tap] * sample(view, y + tap / kSkipSide - 2, x + tap % kSkipSide - 2, peak);
  return sum;
}

int64_t floor_divide(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

Planes convolve(const Planes& in, const Layer& layer, const std::vector<Planes>& before, int64_t margin,
                int64_t width, int64_t height) {
  Planes out = make_planes(layer.out, margin, width, height);
  const auto k = static_cast<int64_t>(layer.kernel);
  for (uint32_t o = 0; o < layer.out; ++o) {
    for (int64_t y = out.top; y < out.top + out.height; ++y) {
      for (int64_t x = out.left; x < out.left + out.width; ++x) {
        double sum = layer.bias[o];
        const float* weight =
            layer.weights.data() + static_cast<size_t>(o) * layer.in * layer.kernel * layer.kernel;
        for (uint32_t i = 0; i < layer.in; ++i) {
          for (int64_t t = 0; t < k * k; ++t)
            sum += *weight++ * in.at(i, y + t / k - k / 2, x + t % k - k / 2);
        }
        if (layer.add >= 0) sum += before[static_cast<size_t>(layer.add)].at(o, y, x);
        out.at(o, y, x) = layer.relu ? std::max(sum, 0.0) : sum;
      }
    }
  }
  return out;
}

}  // namespace

std::vector<float> run_reference(const Network& network, const std::vector<PlaneView>& frames,
                                 uint32_t peak) {
  if (frames.size() != network.frames)
    fail(ErrorCode::invalid_argument, "a network of {} frames was given {}", network.frames, frames.size());
  const int64_t scale = network.scale, width = frames[0].width, height = frames[0].height;
  const std::vector<float> bicubic = bicubic_taps(network.scale);
  std::vector<float> skip = bicubic;
  for (size_t i = 0; i < skip.size(); ++i) skip[i] += network.skip[i];

  int64_t margin = 0;
  for (const Layer& layer : network.layers) margin += layer.kernel / 2;
  const int64_t grid = network.on_upscaled ? scale : 1, grid_width = width * grid,
                grid_height = height * grid;
  std::vector<Planes> outputs;
  if (!network.layers.empty()) {
    Planes input = make_planes(network.frames, margin, grid_width, grid_height);
    for (uint32_t c = 0; c < network.frames; ++c) {
      for (int64_t y = input.top; y < input.top + input.height; ++y) {
        for (int64_t x = input.left; x < input.left + input.width; ++x) {
          const int64_t sy = floor_divide(y, grid), sx = floor_divide(x, grid);
          const float* taps = bicubic.data() + ((y - sy * grid) * grid + x - sx * grid) * kSkipTaps;
          const double value = network.on_upscaled
                                   ? std::clamp(filtered(frames[c], sy, sx, taps, peak), 0.0, 1.0)
                                   : sample(frames[c], y, x, peak);
          input.at(c, y, x) = value - 0.5;
        }
      }
    }
    for (const Layer& layer : network.layers) {
      margin -= layer.kernel / 2;
      outputs.push_back(convolve(outputs.empty() ? input : outputs.back(), layer, outputs, margin, grid_width,
                                 grid_height));
    }
  }
  std::vector<float> result(static_cast<size_t>(width * height * scale * scale));
  for (int64_t y = 0; y < height * scale; ++y) {
    for (int64_t x = 0; x < width * scale; ++x) {
      const int64_t phase = y % scale * scale + x % scale;
      double value = filtered(frames[0], y / scale, x / scale, skip.data() + phase * kSkipTaps, peak);
      if (!outputs.empty()) {
        value += network.on_upscaled ? outputs.back().at(0, y, x)
                                     : outputs.back().at(static_cast<uint32_t>(phase), y / scale, x / scale);
      }
      result[static_cast<size_t>(y * width * scale + x)] = static_cast<float>(value);
    }
  }
  return result;
}

}  // namespace cairn::video
