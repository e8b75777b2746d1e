// Which way up stored pictures are shown.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "video/frame.hpp"

namespace cairn::video {

// Stored pictures are mirrored (left for right) first, then turned clockwise.
struct Orientation {
  bool mirrored = false;
  double clockwise = 0;  // degrees, (-180, 180]
  bool operator==(const Orientation&) const = default;

  bool upright() const { return !mirrored && clockwise == 0; }
  // Quarters of a turn clockwise, 0 … 3; none for other angles.
  std::optional<int> quarters() const;

  // Of a display matrix as libav has it (nine numbers of 16.16): ISO/IEC 14496-12, 6.2.2.
  static Orientation of_matrix(std::span<const int32_t, 9> matrix);
  // Of Matroska's ProjectionPoseYaw and ProjectionPoseRoll, degrees: turned by -roll, then mirrored where yaw
  // is 180 (libavformat 61's reading).
  static Orientation of_projection(double yaw, double roll);
  double yaw() const { return mirrored ? 180 : 0; }
  double roll() const { return clockwise == 180 ? 180 : -clockwise; }
};

// The format of turned frames: 4:2:2 that lies becomes 4:4:4. Angles between quarters are not turned.
Format turned(const Format& format, const Orientation& orientation);
void turn(const Frame& frame, const Orientation& orientation, Frame& out);

}  // namespace cairn::video
