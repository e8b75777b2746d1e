// What a decoded picture is, for everything in this room: planes of 16-bit samples, whatever the codec's
// depth.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "video/network.hpp"

namespace cairn::video {

// Code points of ITU-T H.273, which libav's AVCOL_* share; 2 is "unspecified". range: 0 unspecified,
// 1 limited (16 … 235), 2 full; siting: libav's AVCHROMA_LOC_* (0 unspecified).
struct Colour {
  int matrix = 2, primaries = 2, transfer = 2, range = 0, siting = 0;
  bool operator==(const Colour&) const = default;
};

enum class Chroma : uint8_t { none, c420, c422, c444 };

// The layout of a frame's planes: Y, then U and V unless chroma is none.
struct Format {
  uint32_t width = 0, height = 0;  // of luma
  uint32_t bits = 8;               // 8 or 10
  Chroma chroma = Chroma::c420;
  bool operator==(const Format&) const = default;

  uint32_t peak() const noexcept { return bits == 8 ? 255 : 1023; }
  size_t planes() const noexcept { return chroma == Chroma::none ? 1 : 3; }
  uint32_t shift_x(size_t plane) const noexcept { return plane > 0 && chroma != Chroma::c444 ? 1 : 0; }
  uint32_t shift_y(size_t plane) const noexcept { return plane > 0 && chroma == Chroma::c420 ? 1 : 0; }
  // Odd sizes round up: a 5×3 frame in 4:2:0 has planes of 5×3 and twice 3×2.
  uint32_t plane_width(size_t plane) const noexcept {
    return (width + (1u << shift_x(plane)) - 1) >> shift_x(plane);
  }
  uint32_t plane_height(size_t plane) const noexcept {
    return (height + (1u << shift_y(plane)) - 1) >> shift_y(plane);
  }
  // libav's name of the pixel format: "yuv420p", "gray10le", …
  std::string pixel_format() const;
};

struct Plane {
  uint32_t width = 0, height = 0;
  std::vector<uint16_t> samples;  // [height][width]

  void resize(uint32_t w, uint32_t h) {
    width = w;
    height = h;
    samples.resize(static_cast<size_t>(w) * h);
  }
  uint16_t* row(uint32_t y) { return samples.data() + static_cast<size_t>(y) * width; }
  const uint16_t* row(uint32_t y) const { return samples.data() + static_cast<size_t>(y) * width; }
  PlaneView view() const { return {samples.data(), width, height, width}; }
};

struct Frame {
  Format format;
  std::array<Plane, 3> planes;
  int64_t pts = 0;       // in the reader's time base
  int64_t duration = 0;  // 0: not known
  bool key = false;

  void allocate(const Format& wanted);  // plane sizes follow; samples are left as they are
};

}  // namespace cairn::video
