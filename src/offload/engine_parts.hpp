// What both kinds of prefill engines have to decide and to check.
#pragma once

#include <cstdint>
#include <string>

#include "backends/cpu/sequence.hpp"
#include "offload/engine.hpp"

namespace cairn::offload {

uint32_t thread_count(const engine::Options& options);
// Error unsupported: a model that only the engine's own prefill knows.
graph::Model dense_model(const gguf::File& file, uint32_t context);
// Error invalid_argument: PrefillOptions::npu_bits that this model or this device cannot have.
void check_npu_bits(const gguf::File& file, const PrefillOptions& options);
// Blocks of sequences that this device has read with this quantisation, `form`: no other's bits are the same.
engine::Blocks device_blocks(const cpu::Sequences& sequences, const PrefillOptions& options,
                             const std::string& form);

}  // namespace cairn::offload
