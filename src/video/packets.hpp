// A video that another program coded: its packets as they are.
#pragma once

#include <string>

#include "video/container.hpp"

namespace cairn::video {

// The best video track of a file, in memory. Errors: those of Reader's constructor; format: packets that
// cannot be read, or without time stamps (a bare stream).
CodedVideo read_packets(const std::string& path);

}  // namespace cairn::video
