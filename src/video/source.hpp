// A file's packets with time stamps that begin at the file's start and go on where it jumps. Included by the
// files that call libav only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "video/libav.hpp"

namespace cairn::video {

// Jumps as ffmpeg (the program) joins them: in formats whose stamps may jump (MPEG transport and program
// streams, Ogg), where a track's stamps leave what was expected by ten seconds or go back by a tenth, all
// that follows is moved. Elsewhere a pause is a pause.
struct Jump {
  double at = 0, by = 0;  // seconds: the stamp that was expected, and how far off it was
};

class Source {
 public:
  // path: in errors `called`, if that is not empty. Errors: not_found; invalid_argument: what cannot be read
  // twice (a pipe); format: nothing that libav knows; io.
  explicit Source(const std::string& path, const std::string& called = "");

  AVFormatContext& file() const { return *file_; }
  AVStream& stream(int index) const { return *file_->streams[index]; }
  // The best video track that is no cover picture, or -1; `covers` tells whether there is one of these.
  int video(bool* covers = nullptr) const;
  // Only this stream's packets are wanted (others may come all the same).
  void only(int index);

  // Whether packets go on at or before `pts` of the track's (corrected) time; false, and nothing is moved,
  // where stamps may jump or the file cannot.
  bool seek(int index, int64_t pts);

  // The next packet, in its stream's time base, seconds from the common start; libav's error otherwise.
  int read(AVPacket& packet);
  const std::vector<Jump>& jumps() const { return jumps_; }
  // Seconds of the file's own clock at which it starts.
  double start() const;

 private:
  struct Track {
    int64_t next = AV_NOPTS_VALUE, last = AV_NOPTS_VALUE;  // decoding times, microseconds
  };
  void correct(AVPacket& packet);
  void move(AVPacket& packet, int64_t microseconds) const;
  int64_t length(const AVPacket& packet) const;

  Libav<AVFormatContext> file_;
  bool jumps_allowed_ = false;
  int64_t offset_ = 0, last_ = AV_NOPTS_VALUE;  // microseconds
  std::vector<Track> tracks_;
  std::vector<Jump> jumps_;
};

bool is_cover(const AVStream& stream);

}  // namespace cairn::video
