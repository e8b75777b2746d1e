#pragma once

#include <memory>

#include "offload/engine.hpp"

namespace cairn::offload {

// As make_prefill_engine, for a form of whole layers: chunk by chunk, the device has each layer once; the CPU
// embeds, keeps keys and values, and has the head. Errors also: invalid_argument (keys and values that are
// not of 16 bits), unsupported (a model or a device that is not for whole layers: says why).
std::unique_ptr<PrefillEngine> make_layers_engine(const gguf::File& file, const PrefillOptions& options);

}  // namespace cairn::offload
