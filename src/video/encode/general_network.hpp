#pragma once

#include "video/network.hpp"

namespace cairn::video {

// A network that was trained on another video (tools/make_general_networks.py): it scores how hard patches
// are, as STDO's f0 does, and is what training starts from. Null where none of the architecture is shipped.
const Network* general_network(const Architecture& architecture, uint32_t scale);

// The one that scores patches, whatever the architecture that is trained.
const Network& scoring_network(uint32_t scale);

}  // namespace cairn::video
