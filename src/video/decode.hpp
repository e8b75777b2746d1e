// Restored frames into files and pipes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "video/restore.hpp"

namespace cairn::video {

constexpr const char* kFirstPicture = "00000001.png";  // of those that decode() writes into a folder

struct DecodeOptions {
  RestoreOptions restore;
  uint64_t frames = 0;    // at most so many; 0: all
  bool no_audio = false;  // of Matroska files
};

struct DecodeReport {
  uint64_t frames = 0;
  double seconds = 0;  // all of it, the decoder and the writing included
};

// to: "-" (y4m on stdout), a name ending in .y4m, one ending in .mkv (lossless FFV1, time stamps and audio
// kept), or a folder, there or ending in "/" (00000001.png …). Files appear when they are whole. Errors:
// RestoredReader's, io, cancelled.
DecodeReport decode(const std::string& from, const std::string& to, const DecodeOptions& options = {},
                    const std::function<void(uint64_t done, uint64_t of)>& progress = {});

}  // namespace cairn::video
