// Which rates the inputs are.
#pragma once

#include <string>
#include <vector>

#include "video/publish/rate.hpp"
#include "video/reader.hpp"

namespace cairn::video {

struct Inputs {
  std::vector<RateInput> rates;  // the least bytes first
  VideoInfo info;                // of the first
  uint32_t width = 0, height = 0;  // restored
};

// Errors: invalid_argument: videos that are not of one original; unsupported.
Inputs read_inputs(const std::vector<std::string>& paths);

// Seconds of the file's own clock at which its first picture is shown.
double first_picture(const std::string& path);
// Whether browsers play its pictures as they are coded; otherwise why not.
std::string why_not_played(const CodedVideo& coded);

}  // namespace cairn::video
