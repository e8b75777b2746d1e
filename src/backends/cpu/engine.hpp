// cpu: an engine on the processor.
#pragma once

#include <memory>

#include "engine/engine.hpp"

namespace cairn::cpu {

// Errors: as gguf::File, graph::load and resident::Set; invalid_argument (a context or chunk of 0).
std::unique_ptr<engine::Engine> make_engine(const gguf::File& file, const engine::Options& options);

}  // namespace cairn::cpu
