// What the timeline's two pictures share.
#pragma once

#include <cstdint>
#include <string>

#include "offload/timeline.hpp"

namespace cairn::offload {

bool is_shadow(TaskKind kind);
std::string chunk_colour(uint32_t chunk, bool pale);  // CSS; pale: on the CPU

}  // namespace cairn::offload
