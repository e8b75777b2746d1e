// Planes of ours as an encoder takes them. Included by the files that call libav only.
#pragma once

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "video/frame.hpp"
#include "video/libav.hpp"

namespace cairn::video {

// Encoders keep frames: a fresh buffer for each. The frame has the encoder's format.
inline void fill(const Frame& from, const AVCodecContext& encoder, AVFrame& to) {
  av_frame_unref(&to);
  to.format = encoder.pix_fmt;
  to.width = encoder.width;
  to.height = encoder.height;
  if (av_frame_get_buffer(&to, 0) < 0) fail(ErrorCode::out_of_memory, "no memory for a frame");
  for (size_t p = 0; p < from.format.planes(); ++p) {
    const Plane& plane = from.planes[p];
    for (uint32_t y = 0; y < plane.height; ++y) {
      uint8_t* row = to.data[p] + static_cast<ptrdiff_t>(y) * to.linesize[p];
      if (from.format.bits > 8) {
        std::memcpy(row, plane.row(y), plane.width * sizeof(uint16_t));
      } else {
        std::transform(plane.row(y), plane.row(y) + plane.width, row,
                       [](uint16_t v) { return static_cast<uint8_t>(v); });
      }
    }
  }
}

}  // namespace cairn::video
