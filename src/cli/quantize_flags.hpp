// Flags that choose how a model's linear inputs are quantised.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "formats/gguf.hpp"
#include "quantize/make_scheme.hpp"

namespace cairn::cli {

struct QuantizeFlags {
  std::string calibration;  // a sidecar; empty: none
  std::string method;       // --quantize as typed; empty: not given
  std::string pruned = "clamp", weights;
  quantize::SchemeOptions options;

  bool given() const { return !method.empty(); }
};

// --calibration --quantize --static --rotate --threshold --prune --pruned --float-tokens --weights --budget
// --hot
void add_quantize_flags(CLI::App& command, QuantizeFlags& flags);

// The scheme that the flags ask for; without --quantize: auto with a calibration, else rotation with the
// first token in float (of a stack: as the others). Errors as Calibration::read and quantize::make_scheme.
quantize::Scheme make_scheme(const QuantizeFlags& flags, const gguf::File& model, size_t layers);

}  // namespace cairn::cli
