// Restored frames into files and pipes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/restore.hpp"

namespace cairn::video {

constexpr const char* kFirstPicture = "00000001.png";  // of those that decode() writes into a folder

struct DecodeOptions {
  RestoreOptions restore;
  uint64_t frames = 0;      // at most so many; 0: all
  Keep keep;                // of what the input holds beside its pictures; in Matroska files
  bool keep_going = false;  // what is broken is passed over and counted
};

struct DecodeReport {
  uint64_t frames = 0;
  double seconds = 0;              // all of it, the decoder and the writing included
  std::vector<std::string> notes;  // what of the input is changed or left out, a line each
};

// to: "-" (y4m on stdout), a name ending in .y4m, one ending in .mkv (lossless FFV1, with time stamps and
// what else the input holds), or a folder, there or ending in "/" (00000001.png …). Pictures are turned
// upright. Files appear when they are whole. Errors:
// RestoredReader's, io, cancelled.
DecodeReport decode(const std::string& from, const std::string& to, const DecodeOptions& options = {},
                    const std::function<void(uint64_t done, uint64_t of)>& progress = {});

}  // namespace cairn::video
