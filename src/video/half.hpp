#pragma once

#include <cstdint>

namespace cairn::video {

// To the nearest binary16 value and back; magnitudes beyond 65,504 become that.
float round_to_half(float value);
uint16_t to_half(float value);
float from_half(uint16_t bits);

}  // namespace cairn::video
