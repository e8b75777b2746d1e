// What libav does not tell of a Matroska file: where it says that it ends, and (before FFmpeg 7) how its
// pictures are turned. RFC 9559.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace cairn::video {

struct MatroskaHead {
  struct Projection {
    uint64_t type = 0, type_at = 0;  // ProjectionType (0: a plain rectangle), and the offset of its last byte
    double yaw = 0, roll = 0;        // degrees
  };
  std::optional<uint64_t> end;                 // of the segment, in bytes, where it is known
  std::map<unsigned, Projection> projections;  // by the number of the track entry, from 0
};

// Empty where the file is no Matroska, or broken before its first cluster.
MatroskaHead read_matroska_head(const std::string& path);

}  // namespace cairn::video
