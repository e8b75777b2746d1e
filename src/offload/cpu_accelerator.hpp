#pragma once

#include <memory>

#include "offload/registry.hpp"

namespace cairn::offload {

AcceleratorKind cpu_kind();
AcceleratorTraits cpu_traits();

// The processor as a matrix engine: options.threads of it, with the static int8 kernels. traits: its own, or
// those of a device in whose place it computes.
std::unique_ptr<Accelerator> make_cpu_accelerator(const AcceleratorOptions& options,
                                                  const AcceleratorTraits& traits = cpu_traits());

}  // namespace cairn::offload
