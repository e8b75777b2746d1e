// A cairn video as its viewers see it: decoded and restored, frame by frame. Of any other video the frames
// are passed on as they are.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/reader.hpp"
#include "video/restore.hpp"

namespace cairn::video {

// Frames of a video, and the time stamp of the first of them.
struct TimedRange {
  uint64_t first = 0, end = 0;
  int64_t pts = 0;
};

class RestoredReader {
 public:
  // upright: frames are turned as they are to be seen; otherwise they come as they are stored.
  explicit RestoredReader(const std::string& path, const RestoreOptions& restore = {},
                          const ReaderOptions& reader = {}, bool upright = false);

  // The small video's, with the restored frames' format.
  const VideoInfo& info() const noexcept { return info_; }
  const CairnFile& file() const noexcept { return file_; }

  std::vector<std::string> notes() const { return reader_.notes(); }

  // False after the last frame. `small`, where wanted, takes the frame that was restored, as it is stored.
  bool read(Frame& restored, Frame* small = nullptr);
  // Drops a frame undecoded by the networks; false after the last.
  bool skip();
  void rewind();
  // From here on (and after each rewind()) only these frames are given, range by range.
  void only(std::vector<TimedRange> ranges);

  // A frame of the size that restored ones are stored in, turned as they are given.
  const Format& stored_format() const noexcept { return stored_format_; }
  void stand_up(const Frame& stored, Frame& out) const;

 private:
  bool advance();  // to the next frame and its neighbours
  bool arrive();   // at the next frame of the ranges; false after the last

  CairnFile file_;
  Reader reader_;
  VideoInfo info_;
  std::optional<Restorer> restorer_;
  Format stored_format_;
  Orientation turn_;  // of what is given
  Frame stored_;
  std::array<Frame, 3> frames_;  // a ring: before, now, after
  std::array<bool, 3> there_{};
  std::vector<TimedRange> ranges_;  // empty: all frames
  size_t range_ = 0;
  uint64_t next_ = 0;  // its number in the file
  bool began_ = false;
};

}  // namespace cairn::video
