// A lossless Matroska file (FFV1), with each frame's own time stamp, and what another file holds beside its
// pictures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/reader.hpp"

namespace cairn::video {

class LosslessFile {
 public:
  // from: the file whose other tracks, chapters and tags go along; empty: none. The file appears under its
  // name at finish(). Errors: Reader's for `from`; io, unsupported, naming path.
  LosslessFile(const std::string& path, const VideoInfo& info, const std::string& from = "",
               const Keep& keep = {});
  ~LosslessFile();
  LosslessFile(LosslessFile&&) noexcept;
  LosslessFile& operator=(LosslessFile&&) noexcept;

  void write(const Frame& frame);  // of info.format
  void finish();
  // What of `from` is changed or left out, a line each; more after finish().
  std::vector<std::string> notes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
