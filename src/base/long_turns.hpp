#pragma once

namespace cairn {

// The calling thread computes for long stretches: whoever wakes up on its processor meanwhile, and does not,
// is let in at once rather than after up to two of the system's ticks (8 ms at 250 Hz). Its share of the
// processor stays what it was. Linux 6.12 and newer; does nothing elsewhere.
void take_long_turns();

}  // namespace cairn
