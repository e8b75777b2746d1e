// Frames as RGB pictures and PNG files.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "video/frame.hpp"

namespace cairn::video {

struct Picture {
  uint32_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height][width][3]
};

// Frames of one format and colour to 8-bit RGB, by libswscale: chroma interpolated, matrix and range as the
// colour says (BT.709 from 720 lines on and BT.601 below where it does not, as players guess).
class RgbConverter {
 public:
  RgbConverter(const Format& format, const Colour& colour);
  ~RgbConverter();
  RgbConverter(RgbConverter&&) noexcept;
  RgbConverter& operator=(RgbConverter&&) noexcept;
  void convert(const Frame& frame, Picture& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// compression: 0 … 9, zlib's.
std::vector<uint8_t> encode_png(const Picture& picture, int compression = 3);

}  // namespace cairn::video
