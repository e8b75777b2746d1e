// A coded video as media segments with what restores each.
#pragma once

#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/publish/output_folder.hpp"
#include "video/publish/published.hpp"

namespace cairn::video {

// One cairn video; or several that share their small video and differ in networks.
struct RateInput {
  std::string path;  // of the first
  CodedVideo coded;
  std::vector<Restoration> levels;  // the best first; none: plain video
  std::vector<std::string> names;   // of the levels' networks
};

// First packets of segments at least `seconds` long (as far as key frames allow), from which decoding can
// begin: nothing of before is shown after them, nor the other way round. The first is 0.
std::vector<size_t> segment_starts(const std::vector<CodedPacket>& packets, double tick, double seconds);

// Writes FOLDER/init.mp4, FOLDER/N.m4s and, with levels, FOLDER/N.cairn and networks/…. The first frame's time
// becomes 0. Errors: unsupported (a codec browsers lack), io.
PublishedRate publish_rate(const RateInput& input, const std::string& folder, double seconds, OutputFolder& to);
// The same of pictures alone.
PublishedTrack publish_pictures(const CodedVideo& coded, const std::string& what, const std::string& folder,
                                double seconds, OutputFolder& to);

}  // namespace cairn::video
