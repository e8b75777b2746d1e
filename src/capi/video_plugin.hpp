// libcairn_video.so, opened when something of it is first needed.
#pragma once

#include "base/plugin.hpp"

namespace cairn::capi {

// Errors: not_found, unsupported (another build).
inline const VideoPlugin& video_plugin() {
  return open_plugin<VideoPlugin>(
      own_library(VideoPlugin::kLibrary, "it is a part of its own (package cairn-video)"));
}

}  // namespace cairn::capi
