#pragma once

#include <memory>
#include <string>

#include "engine/engine.hpp"
#include "formats/gguf.hpp"

namespace cairn::cuda {

// An engine on a GPU that goes on as one on the CPU when the GPU fails or has no memory left for a sequence
// (guarded_engine.cpp); options.device names the GPU. Errors: as Device::open; unsupported (an op without a
// kernel, what the options ask for and a GPU does not do), out_of_memory (weights that do not fit, or more
// than options.device_memory), as graph::load.
std::unique_ptr<engine::Engine> make_engine(const gguf::File& file, const engine::Options& options);

// The same without the CPU: what fails is told by an Error, DeviceLost after a fault of the GPU.
std::unique_ptr<engine::Engine> make_device_engine(const gguf::File& file, const engine::Options& options);

// The engine that make_engine() made one of, or the same.
const engine::Engine& behind_guard(const engine::Engine& engine);

// "cuda:0 (NVIDIA H200)" of an engine of the two above; empty: it is another.
std::string device_of(const engine::Engine& engine);

}  // namespace cairn::cuda
