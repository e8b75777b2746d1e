// All products of a model, compiled on one machine for another's NPU.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/engine.hpp"
#include "formats/gguf.hpp"
#include "offload/onnx/bundle_writer.hpp"
#include "quantize/scheme.hpp"

namespace cairn::offload {

// Writes a bundle for chunks of each of `lengths` tokens; of whole layers the scheme means nothing. options:
// model and scheme are filled in. progress: graphs done and of how many. Errors: unsupported (a model that
// accelerators do not run, a graph that the compiler refuses), those of BundleWriter, and what `cancelled`
// throws; then nothing is left behind.
onnx::Bundle compile_model(const gguf::File& file, const quantize::Scheme& scheme,
                           const std::vector<uint32_t>& lengths, onnx::BundleOptions options,
                           const std::function<void(size_t, size_t)>& progress,
                           const engine::Cancelled& cancelled);

// One shared context is addressed by 32 bits. Error unsupported: so many bytes of weights (of all products)
// do not fit; names their size and what would do. path: the model's.
// weights: how many. fewer: whether --bits 4 is there to be told of.
void check_context(const std::string& path, uint64_t weights, uint32_t bits, bool fewer);

}  // namespace cairn::offload
