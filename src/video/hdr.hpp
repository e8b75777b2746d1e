// How coders take HDR's mastering display (SMPTE ST 2086) and content light level (CTA-861.3). Included by
// the files that call libav only.
#pragma once

#include <string>
#include <vector>

#include "video/coder.hpp"
#include "video/reader.hpp"

namespace cairn::video {

// ":key=value" pairs for the coder's own settings (x264-params, …); empty where there is none of it.
std::string hdr_settings(Codec codec, const std::vector<SideData>& side_data);

}  // namespace cairn::video
