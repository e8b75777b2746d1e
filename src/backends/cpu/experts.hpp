#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/plan.hpp"

namespace cairn::cpu {

// OpKind::route of one token, in place. scores: [experts], `stride` floats apart; chosen: [used], ascending.
// False where a score is infinite or no number: then nothing is written.
bool route(const BoundOp& bound, float* scores, size_t stride, uint32_t* chosen);

// Whether the slot holds what a token's experts read or write, of which there are `used` a token.
constexpr bool is_expert(graph::Slot slot) {
  return slot == graph::Slot::expert_gate || slot == graph::Slot::expert_up ||
         slot == graph::Slot::expert_out;
}

}  // namespace cairn::cpu
