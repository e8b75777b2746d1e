// What a page has to know of one media segment to restore it: when its frames are shown, and which networks
// restore which. docs/video_web.md describes the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "video/attachment.hpp"

namespace cairn::video {

constexpr uint8_t kSegmentFileVersion = 1;

// So many frames, one after another, by one network.
struct NetworkRun {
  uint64_t frames = 0;
  uint32_t network = 0;  // index into `networks`
};

// One choice of networks; a publication may have smaller ones for weaker machines.
struct SegmentLevel {
  std::vector<uint64_t> networks;  // their files' numbers (XXH64): networks/%016x.bin
  std::optional<Labels> labels;    // of this segment's frames; otherwise runs
  std::vector<NetworkRun> runs;
};

struct SegmentFile {
  std::vector<uint64_t> durations;   // of frames in the order in which they are shown, in the track's ticks
  std::vector<SegmentLevel> levels;  // the best first; none: plain video
};

std::vector<std::byte> write_segment_file(const SegmentFile& segment);
// As read_attachment. small_width, small_height: of the small video, for labels.
SegmentFile read_segment_file(std::span<const std::byte> bytes, uint32_t small_width, uint32_t small_height,
                              const std::string& what);

// What of a restoration concerns frames [first, end), with the networks' numbers in `files`.
SegmentLevel cut_level(const Restoration& restoration, const std::vector<uint64_t>& files, uint64_t first,
                       uint64_t end);

// A file that holds one network (and the one for chroma, if there is one): an attachment as in a cairn video.
std::vector<std::byte> network_file(const Restoration& restoration, size_t network);

}  // namespace cairn::video
