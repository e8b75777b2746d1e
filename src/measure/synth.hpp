// A file of a published model's shape with random weights: for measuring speed where the model is not at
// hand.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "formats/encoding.hpp"

namespace cairn::measure {

// What a matrix with rows of `row_elements` is stored in when `wanted` is asked for: K-quants whose
// 256-element blocks do not divide the row fall back to an encoding of 32-element blocks, as llama.cpp's
// quantizer does.
Encoding fitting_encoding(Encoding wanted, uint64_t row_elements);

struct SynthOptions {
  std::string shape;  // a name of graph::model_shapes()
  Encoding encoding = Encoding::q4_0;
  uint64_t seed = 0;
  uint32_t layers = 0;      // fewer than the shape has; 0: as many
  uint32_t vocabulary = 0;  // likewise, at least 257
};

struct SynthReport {
  uint64_t tensors = 0, elements = 0, bytes = 0;  // bytes: of the tensors' data
  uint64_t fallbacks = 0;                         // matrices that fell back …
  Encoding fallback = Encoding::f32;              // … to this encoding
};

// What synthesize would write. Errors: invalid_argument (shape, layers, vocabulary).
SynthReport synth_report(const SynthOptions& options);

// Writes a GGUF of that shape with random weights: norms and biases in f32, every matrix (embedding and
// output head too) in the encoding, and a valid byte-level BPE vocabulary. Weights are small enough that
// activations stay finite. progress is called with bytes done and in all. Errors: invalid_argument (shape,
// layers), io; cancelled after an interrupt; no half file stays.
SynthReport synthesize(const SynthOptions& options, const std::string& path,
                       const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace cairn::measure
