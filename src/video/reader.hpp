// Video files to planes, through libav.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "video/frame.hpp"

namespace cairn::video {

struct Rational {
  int64_t numerator = 0, denominator = 1;
  double value() const noexcept { return static_cast<double>(numerator) / static_cast<double>(denominator); }
};

struct VideoInfo {
  Format format;  // of the frames that read() gives; 12-bit and RGB input is converted to the nearest
  Colour colour;
  Rational time_base;             // seconds of one tick of Frame::pts
  Rational frame_rate;            // average, a guess for variable rates; 25/1 where nothing is known
  Rational sample_aspect{1, 1};   // width : height of a sample
  std::string codec;              // libav's short name, "h264"
  int stream = 0;                 // index of the video stream in the file
  std::optional<double> seconds;  // of the video stream, where the file says so
  uint64_t frames = 0;            // as the file says; 0: it does not
};

struct ReaderOptions {
  int threads = 0;         // of the decoder; 0: as many as processors
  bool truncated = false;  // a file that ends early just ends; otherwise read() throws at its end
};

// Decodes a file's best video stream, frame by frame in the order of presentation. Errors, each naming the
// file: not_found, io; format: not a video, no video track, no frames (on the first read), a size that
// changes, a file that ends early, broken packets; unsupported: a codec libav does not know.
class Reader {
 public:
  explicit Reader(const std::string& path, const ReaderOptions& options = {});
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  const VideoInfo& info() const noexcept;
  // False after the last frame. `frame`'s memory is reused. Time stamps increase strictly.
  bool read(Frame& frame);
  void rewind();  // the next read() gives the first frame again; Error io where the input cannot seek

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
