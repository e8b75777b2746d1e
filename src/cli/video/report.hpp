// What the commands that encode say, on the way and in the end.
#pragma once

#include <string>

#include "cli/video/status_line.hpp"
#include "video/encode/encode.hpp"

namespace cairn::cli {

void report_encoding(const std::string& output, bool as_json, const video::EncodeReport& report);

}  // namespace cairn::cli
