#pragma once

#include <cstdint>

#include "offload/accelerator.hpp"
#include "offload/layer_plan.hpp"

namespace cairn::offload {

// The chunk length for a device, measured as llm.npu does (its Figure 8): the time a token of the first
// layer's products at 64, 128, … 512 tokens. Of the lengths within 5 % of the fastest the shortest: less of a
// prompt is padding then. most: the context, an upper bound.
uint32_t profile_chunk(Products& products, Accelerator& accelerator, const kernels::StaticKernels& kernels,
                       uint32_t most);

}  // namespace cairn::offload
