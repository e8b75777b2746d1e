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
  explicit RestoredReader(const std::string& path, const RestoreOptions& restore = {},
                          const ReaderOptions& reader = {});

  // The small video's, with the restored frames' format.
  const VideoInfo& info() const noexcept { return info_; }
  // What read() cannot know before the first frame: colours that only the decoder tells.
  const VideoInfo& small_info() const noexcept { return reader_.info(); }
  const CairnFile& file() const noexcept { return file_; }

  // False after the last frame. `small`, where wanted, takes the frame that was restored.
  bool read(Frame& restored, Frame* small = nullptr);
  // Drops a frame undecoded by the networks; false after the last.
  bool skip();
  void rewind();

 private:
  bool advance();  // to the next frame: now_ and its neighbours

  CairnFile file_;
  Reader reader_;
  VideoInfo info_;
  std::optional<Restorer> restorer_;
  std::array<Frame, 3> frames_;  // a ring: before, now, after
  std::array<bool, 3> there_{};
  uint64_t next_ = 0;
  bool began_ = false;
};

}  // namespace cairn::video
