// What headers and a first picture tell of a video. Included by the files that call libav only.
#pragma once

#include <optional>
#include <string>

#include "video/reader_notes.hpp"
#include "video/source.hpp"

namespace cairn::video {

// Fills `info`, whose stream is known, from the headers of the file at `path`, which errors call `name`:
// format, unsupported.
void describe(const Source& source, const std::string& path, const std::string& name, VideoInfo& info,
              ReaderNotes& notes);

struct FileLength {
  bool broken_off = false;      // the file is shorter than it says
  std::optional<double> until;  // as VideoInfo::seconds, where the last picture stands that long
};
// Fills in info.seconds and info.frames.
FileLength describe_length(const Source& source, const std::string& path, VideoInfo& info);

// Decoders know more than headers.
void learn(const Source& source, const AVFrame& first, VideoInfo& info);

}  // namespace cairn::video
