#pragma once

#include "video/network.hpp"

namespace cairn::video {

// f0, the general network that scores patches: a C8M4 for x2 trained once on clips of free licences
// (tools/train_general_network.py says how). Other scales are scored by the bicubic.
Network general_network(uint32_t scale);

}  // namespace cairn::video
