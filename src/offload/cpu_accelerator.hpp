#pragma once

#include <memory>

#include "offload/accelerator.hpp"

namespace cairn::offload {

// The processor as a matrix engine: options.threads of it, with the static int8 kernels.
std::unique_ptr<Accelerator> make_cpu_accelerator(const AcceleratorOptions& options);

}  // namespace cairn::offload
