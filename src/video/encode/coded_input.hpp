// A small video of a clip that another encoder made.
#pragma once

#include <string>

#include "video/encode/clip.hpp"

namespace cairn::video {

// Reads it and checks that it is the clip's: of a size that small_format() gives for some scale, of the
// clip's depth and chroma, with as many frames that follow each other at the same times. Errors: Reader's; invalid_argument, naming
// both files and what is not alike.
SmallVideo read_coded_input(Clip& clip, const std::string& path);

}  // namespace cairn::video
