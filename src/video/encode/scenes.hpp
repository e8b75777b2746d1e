// Where a video cuts from one scene to the next.
#pragma once

#include <cstdint>
#include <vector>

#include "video/frame.hpp"

namespace cairn::video {

// Compares each frame with the one before by the means of luma over a coarse grid: a cut changes them at
// once, and by far more than the frames around it change; motion and fades do not.
class SceneFinder {
 public:
  void add(const Frame& frame);
  // The scenes' first frames, 0 always. Those shorter than 12 frames belong to the scene before them.
  std::vector<uint64_t> scenes() const;

 private:
  std::vector<float> grid_;
  std::vector<float>
      changes_;  // [frame], from the one before: mean of absolute differences, share of the peak
};

}  // namespace cairn::video
