#pragma once

#include "offload/registry.hpp"

namespace cairn::offload::simulated {

// "simulated" or "simulated:PHONE": the CPU computes, timelines are those of a phone on a virtual clock.
AcceleratorKind kind();

}  // namespace cairn::offload::simulated
