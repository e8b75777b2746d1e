// libav's frames as planes of ours. Included by the files that call libav only.
#pragma once

#include <string>

#include "video/libav.hpp"
#include "video/reader.hpp"

namespace cairn::video {

// The format of planes nearest to a pixel format.
Format nearest_format(AVPixelFormat pixels, int width, int height);
bool is_rgb(AVPixelFormat pixels);  // by palette too
// yuvj420p and its like are yuv420p of full range, which is told by `full`.
AVPixelFormat without_range(AVPixelFormat pixels, bool& full);
AVPixelFormat libav_format(const Format& format);

// Writes planes of one format, whatever the frames' own: converted and scaled where they differ.
class PlaneReader {
 public:
  // Errors, naming `name`: unsupported, out_of_memory.
  void read(const AVFrame& from, const Format& format, const Colour& colour, const std::string& name,
            Frame& out);

 private:
  const AVFrame& converted(const AVFrame& from, const Format& format, const Colour& colour,
                           const std::string& name);
  Libav<AVFrame> converted_;
  Libav<SwsContext> scaler_;
};

}  // namespace cairn::video
