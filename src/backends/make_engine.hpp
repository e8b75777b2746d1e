// backends: engines, and which of them runs a model.
#pragma once

#include <memory>

#include "engine/engine.hpp"
#include "formats/gguf.hpp"

namespace cairn::backends {

// An engine where options.device says. "auto" takes the CPU without a word where there is no GPU, or the
// options ask for what only the CPU does (--precision f32, --kv, --memory, observers); where a GPU is there
// and cannot take the model, options.warn is told why. Errors: as cpu::make_engine and cuda::make_engine;
// invalid_argument (a device of no such name).
std::unique_ptr<engine::Engine> make_engine(const gguf::File& file, const engine::Options& options);

}  // namespace cairn::backends
