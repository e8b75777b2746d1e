#include "video/float_run.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.hpp"
#include "video/train/pass.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kStripRows = 32;

}  // namespace

struct FloatRunner::State {
  State(const Network& shape, bool round) : network(shape), weights(shape), rounded(round) {}
  Network network;
  NetworkWeights weights;
  bool rounded;
  uint32_t width = 0;
  std::vector<std::unique_ptr<CropPass>> passes;  // of each thread
};

FloatRunner::FloatRunner(const Network& network, bool rounded)
    : state_(std::make_unique<State>(network, rounded)) {
  if (network.on_upscaled) fail(ErrorCode::unsupported, "networks on upscaled frames are not run here");
}

FloatRunner::~FloatRunner() = default;
FloatRunner::FloatRunner(FloatRunner&&) noexcept = default;

void FloatRunner::run(const std::vector<PlaneView>& frames, uint32_t peak, uint32_t width, uint32_t height,
                      Plane& out, ThreadPool& pool) {
  State& s = *state_;
  if (frames.size() != s.network.frames)
    fail(ErrorCode::invalid_argument, "a network of {} frames was given {}", s.network.frames, frames.size());
  const uint32_t small_width = frames[0].width, scale = s.network.scale;
  if (s.passes.size() != pool.threads() || s.width != small_width) {
    s.passes.clear();
    s.width = small_width;
    for (size_t i = 0; i < pool.threads(); ++i)
      s.passes.push_back(
          std::make_unique<CropPass>(s.network, small_width, kStripRows, kernels::default_target()));
  }
  out.resize(width, height);
  const PassWeights weights = s.weights.pass_weights(s.rounded);
  const size_t strips = (frames[0].height + kStripRows - 1) / kStripRows;
  const auto most = static_cast<float>(peak);
  pool.run(strips, [&](size_t thread, size_t strip) {
    CropPass& pass = *s.passes[thread];
    const auto top = static_cast<uint32_t>(strip) * kStripRows;
    pass.load(frames, peak, top, 0);
    pass.forward(weights);
    for (uint32_t y = top * scale; y < std::min((top + kStripRows) * scale, height); ++y) {
      uint16_t* to = out.row(y);
      for (uint32_t dx = 0; dx < scale; ++dx) {
        const float* from = pass.row(y % scale * scale + dx, y / scale - top);
        for (uint32_t x = dx, i = 0; x < width; x += scale, ++i)
          to[x] = static_cast<uint16_t>(std::clamp(from[i] * most, 0.0f, most) + 0.5f);
      }
    }
  });
}

}  // namespace cairn::video
