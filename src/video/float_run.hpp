#pragma once

#include <memory>
#include <vector>

#include "base/thread_pool.hpp"
#include "video/frame.hpp"
#include "video/network.hpp"

namespace cairn::video {

// A network on whole planes in float arithmetic, strip by strip: what integer execution is measured against.
// Not for the paper's networks on upscaled frames (Error unsupported).
class FloatRunner {
 public:
  // rounded: activations as integer execution rounds them.
  FloatRunner(const Network& network, bool rounded);
  ~FloatRunner();
  FloatRunner(FloatRunner&&) noexcept;
  // frames: as many as the network has. out: scale times the size, cut to width × height; rounded, clamped.
  void run(const std::vector<PlaneView>& frames, uint32_t peak, uint32_t width, uint32_t height, Plane& out,
           ThreadPool& pool);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
