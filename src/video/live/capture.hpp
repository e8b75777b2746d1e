// Pictures as they come: a file at its own pace, a pipe, a stream from the network.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "video/reader.hpp"

namespace cairn::video {

class CapturedSound;

struct CaptureOptions {
  double stall_seconds = 10;  // without a picture: the stream has stopped
  bool sound = true;          // all tracks of it; false: none
};

// Frames of one format, 8-bit 4:2:0, their times from 0 on in info().time_base. A clock that jumps (back, or
// by more than two seconds ahead) is joined: the frame comes a usual duration after the last one. Damaged
// packets are passed over. Both are noted.
class Capture {
 public:
  // input: a file, which is given at its own pace; a pipe ("-": standard input); a URL that libav knows
  // (rtsp://, srt://, udp://, …). Errors, each naming it: not_found, network (no connection, nothing comes in
  // time), format, unsupported.
  Capture(const std::string& input, const CaptureOptions& options);
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  const VideoInfo& info() const noexcept;
  // Waits for the next frame; false at the end, or where it was interrupted, or has stopped (noted).
  bool read(Frame& frame);
  CapturedSound& sound() noexcept;  // what came between the frames
  bool stopped() const noexcept;    // without an end: nothing came any more
  std::vector<std::string> notes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
