// What the timeline's two pictures share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "prefill/timeline.hpp"

namespace cairn::prefill {

// Text for element content and quoted attributes of HTML and XML.
std::string escape_markup(std::string_view text);
bool is_shadow(TaskKind kind);
std::string chunk_colour(uint32_t chunk, bool pale);  // CSS; pale: on the CPU

}  // namespace cairn::prefill
