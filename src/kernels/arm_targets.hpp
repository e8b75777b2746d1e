// Which of ARM64's instruction sets a processor has, from what Linux says of it, Android's too: bits of
// arch/arm64/include/uapi/asm/hwcap.h. A kernel may hide any of them, so that each is asked for.
#pragma once

#include <vector>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

constexpr unsigned long kArmAsimd = 1ul << 1, kArmDotProducts = 1ul << 20;     // AT_HWCAP
constexpr unsigned long kArmMatrixProducts = 1ul << 13, kArmBf16 = 1ul << 14;  // AT_HWCAP2

// Best last; portable is always there.
inline std::vector<Target> arm_targets(unsigned long hwcap, unsigned long hwcap2) {
  std::vector<Target> found = {Target::portable};
  if ((hwcap & kArmAsimd) == 0) return found;
  found.push_back(Target::neon);
  if ((hwcap & kArmDotProducts) == 0) return found;
  found.push_back(Target::neon_dotprod);
  if ((hwcap2 & kArmMatrixProducts) != 0 && (hwcap2 & kArmBf16) != 0) found.push_back(Target::neon_i8mm);
  return found;
}

// What the best of `targets` lacks, as a line for who wonders why it is slow; empty where it lacks nothing.
constexpr const char* arm_lacks(Target best) {
  switch (best) {
    case Target::portable:
      return "no vectors (asimd): neither the processor nor its kernel shows them";
    case Target::neon:
      return "no dot products (asimddp): the processor lacks them or its kernel hides them";
    case Target::neon_dotprod:
      return "no matrix products (i8mm, bf16): the processor lacks them or its kernel hides them";
    default:
      return "";
  }
}

}  // namespace cairn::kernels
