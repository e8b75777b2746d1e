// Networks of any shape in float32: what does not run in integers (the paper's backbones, networks that are
// not quantised), and what integers are compared with.
#pragma once

#include <span>

#include "video/row_runner.hpp"

namespace cairn::video {

// As run_rows() does, for a valid network. Memory grows with the rectangle: call it with tiles.
void run_float(const Network& network, uint32_t peak, std::span<const PlaneView> frames,
               const Rectangle& rectangle, Plane& out);

}  // namespace cairn::video
