// A cairn video as its viewers see it: decoded and restored, frame by frame. Of any other video the frames
// are passed on as they are.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "video/container.hpp"
#include "video/reader.hpp"
#include "video/restore.hpp"

namespace cairn::video {

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

  // A frame of the size that restored ones are stored in, turned as they are given.
  const Format& stored_format() const noexcept { return stored_format_; }
  void stand_up(const Frame& stored, Frame& out) const;

 private:
  bool advance();  // to the next frame and its neighbours

  CairnFile file_;
  Reader reader_;
  VideoInfo info_;
  std::optional<Restorer> restorer_;
  Format stored_format_;
  Orientation turn_;  // of what is given
  Frame stored_;
  std::array<Frame, 3> frames_;  // a ring: before, now, after
  std::array<bool, 3> there_{};
  uint64_t next_ = 0;
  bool began_ = false;
};

}  // namespace cairn::video
