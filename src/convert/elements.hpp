#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "convert/config.hpp"
#include "convert/names.hpp"
#include "formats/encoding.hpp"

namespace cairn::convert {

// The rows and columns of an fp8 weight that share a scale; 0: as the scale's shape says (one for all, one a
// row).
struct ScaleBlock {
  uint64_t rows = 0, columns = 0;
  bool scaled = false;  // the config has weights quantized: none of fp8 is without a scale
};
// What config.json's quantization_config says. Error unsupported names a way of quantization that is not
// read.
ScaleBlock scale_block(const Config& config);
// Error format when a tensor's scale has a shape that scales it in no known way, or is missing.
void check_scale(const PlannedTensor& tensor, const ScaleBlock& block, const std::string& file);

// Whether the file holds the checkpoint's bytes as they are, at an address that GGUF allows.
bool keeps_bytes(const PlannedTensor& tensor, Encoding encoding);

// Hands a tensor's values to `sink` in the target's layout and encoding (f32, f16, bf16; nearest, ties to
// even), in pieces of a few MiB. Memory: two pieces.
void write_elements(const PlannedTensor& tensor, const ScaleBlock& block, Encoding encoding,
                    const std::function<void(std::span<const std::byte>)>& sink);

}  // namespace cairn::convert
