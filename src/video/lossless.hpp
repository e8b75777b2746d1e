// A lossless Matroska file (FFV1), with each frame's own time stamp and copied audio.
#pragma once

#include <memory>
#include <string>

#include "video/reader.hpp"

namespace cairn::video {

class LosslessFile {
 public:
  // audio_from: a file whose audio tracks are copied; empty: none. The file appears under its name at
  // finish(). Errors io, unsupported (audio that Matroska cannot hold), naming path.
  LosslessFile(const std::string& path, const VideoInfo& info, const std::string& audio_from);
  ~LosslessFile();
  LosslessFile(LosslessFile&&) noexcept;
  LosslessFile& operator=(LosslessFile&&) noexcept;

  void write(const Frame& frame);  // of info.format
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
