#include "video/orientation.hpp"

#include <cmath>
#include <numbers>

namespace cairn::video {
namespace {

constexpr double kSameAngle = 0.01;  // degrees: 16.16 numbers are rounded

double normal(double degrees) {
  const double turned = std::remainder(degrees, 360);
  const double nearest = std::round(turned / 90) * 90;
  const double angle = std::abs(turned - nearest) < kSameAngle ? nearest : turned;
  return angle <= -180 ? 180 : angle + 0.0;
}

bool lies(const Orientation& orientation) {
  return orientation.quarters().value_or(0) % 2 == 1;
}

// Chroma that is sited left, at luma's columns.
void widen(const Plane& plane, uint32_t width, Plane& out) {
  out.resize(width, plane.height);
  for (uint32_t y = 0; y < plane.height; ++y) {
    const uint16_t* from = plane.row(y);
    for (uint32_t x = 0; x < width; ++x) {
      const uint32_t left = x / 2, right = std::min((x + 1) / 2, plane.width - 1);
      out.row(y)[x] = static_cast<uint16_t>((from[left] + from[right] + 1) / 2);
    }
  }
}

void turn(const Plane& plane, bool mirrored, int quarters, Plane& out) {
  const bool across = quarters % 2 == 1;
  out.resize(across ? plane.height : plane.width, across ? plane.width : plane.height);
  for (uint32_t y = 0; y < plane.height; ++y) {
    for (uint32_t x = 0; x < plane.width; ++x) {
      const uint32_t left = mirrored ? plane.width - 1 - x : x;
      uint32_t to_x = left, to_y = y;
      if (quarters == 1) to_x = plane.height - 1 - y, to_y = left;
      if (quarters == 2) to_x = plane.width - 1 - left, to_y = plane.height - 1 - y;
      if (quarters == 3) to_x = y, to_y = plane.width - 1 - left;
      out.row(to_y)[to_x] = plane.row(y)[x];
    }
  }
}

}  // namespace

std::optional<int> Orientation::quarters() const {
  const double quarters = std::round(clockwise / 90);
  if (std::abs(clockwise - 90 * quarters) >= kSameAngle) return std::nullopt;
  return static_cast<int>(quarters + 4) % 4;
}

Orientation Orientation::of_matrix(std::span<const int32_t, 9> matrix) {
  const auto at = [&](size_t i) { return static_cast<double>(matrix[i]); };
  Orientation orientation;
  orientation.mirrored = at(0) * at(4) - at(1) * at(3) < 0;
  const double sign = orientation.mirrored ? -1 : 1;
  if (at(0) == 0 && at(1) == 0) return {};
  orientation.clockwise = normal(std::atan2(sign * at(1), sign * at(0)) * 180 / std::numbers::pi);
  return orientation;
}

Orientation Orientation::of_projection(double yaw, double roll) {
  if (!std::isfinite(yaw) || !std::isfinite(roll)) return {};
  return {std::abs(yaw) == 180, normal(-roll)};
}

Format turned(const Format& format, const Orientation& orientation) {
  Format out = format;
  if (!lies(orientation)) return out;
  std::swap(out.width, out.height);
  if (out.chroma == Chroma::c422) out.chroma = Chroma::c444;
  return out;
}

void turn(const Frame& frame, const Orientation& orientation, Frame& out) {
  const int quarters = orientation.quarters().value_or(0);
  out.format = turned(frame.format, orientation);
  out.pts = frame.pts;
  out.duration = frame.duration;
  out.key = frame.key;
  Plane wide;
  for (size_t p = 0; p < out.planes.size(); ++p) {
    if (p >= frame.format.planes()) {
      out.planes[p] = {};
    } else if (p > 0 && out.format.chroma != frame.format.chroma) {
      widen(frame.planes[p], frame.format.width, wide);
      turn(wide, orientation.mirrored, quarters, out.planes[p]);
    } else {
      turn(frame.planes[p], orientation.mirrored, quarters, out.planes[p]);
    }
  }
}

}  // namespace cairn::video
