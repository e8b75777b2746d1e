#pragma once

#include <optional>

#include "video/network.hpp"

namespace cairn::video {

// f0, the general network that scores patches: trained once on clips of free licences (tools/ says how and on
// which). None for scales other than 2: the bicubic scores there.
std::optional<Network> general_network(uint32_t scale);

}  // namespace cairn::video
