#pragma once

#include <string>

#include "formats/gguf.hpp"

namespace cairn::quantize {

// What ties a calibration to its model: SHA-256, in hexadecimal, over the metadata, every tensor's name,
// encoding and shape, and samples of its data: all of it up to 8 KiB, else 16 stretches of 256 bytes spread
// evenly, the first and the last bytes among them. Reads about 1 MiB of a model of 270 tensors. Any other
// training, quantisation or conversion changes nearly all stretches; a change of single weights between them
// is not seen.
std::string model_fingerprint(const gguf::File& file);

}  // namespace cairn::quantize
