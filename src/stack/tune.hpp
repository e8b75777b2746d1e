#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/graph.hpp"
#include "stack/distiller.hpp"
#include "text/tokenizer.hpp"

namespace cairn::stack {

struct TuneOptions {
  uint32_t steps = 0;                          // of Adam; 0: no tuning
  uint32_t batch = 4;                          // windows a step
  uint32_t windows = 1000;                     // most windows of the text
  float rate = 3e-3f;                          // of the first steps, falling to 0 along a cosine
  uint64_t teacher_bytes = uint64_t{1} << 30;  // for what the source makes of the windows
  TuneOn on = TuneOn::automatic;
};

// Learns the scales of nested codes, one a row and level, so that prefixes of the order predict what the
// source predicts (distillation; the codes stay). Each step takes another prefix, from 1.6 bits a weight to
// all of them. Holds the codes, a byte a weight, and of each layer what it begins with.
class ScaleTuner {
 public:
  using Windows = std::span<const std::vector<text::Token>>;

  // The layout's order counts, `read` gives its blocks. windows: of equal length, a multiple of 64 tokens;
  // as many of them are used as teacher_bytes allow. All but options must outlive the tuner.
  ScaleTuner(const gguf::File& source, const graph::Model& model, const Layout& layout,
             const BlockSource& read, Windows windows, const TuneOptions& options, uint32_t threads);
  ScaleTuner(const ScaleTuner&) = delete;
  ScaleTuner& operator=(const ScaleTuner&) = delete;

  uint32_t steps() const { return step_; }  // done
  // One step; returns the KL from the source, nats a token, of the prefix and windows that it took. What tick
  // throws leaves the tuner as it was before the step.
  double advance(const Distiller::Tick& tick);
  // The KL of a prefix of so many bits over the first `windows`, without a step.
  double measure(double bits, size_t windows);

  // What the steps so far have made, to go on from by another tuner of the same arguments.
  std::vector<std::byte> state() const;
  void restore(std::span<const std::byte> state);

  // Writes the tuned scales into a block's bytes (of a level of planes; exact rows stay).
  void apply(const Block& block, std::span<std::byte> bytes) const;

 private:
  void read_codes(const BlockSource& read);
  Levels levels_at(double bits) const;

  const Layout& layout_;
  TuneOptions options_;
  Windows windows_;
  std::vector<CodedMatrix> matrices_;
  std::unique_ptr<Distiller> distiller_;
  std::vector<Levels> prefixes_;                              // [budget]
  std::vector<float> changes_, means_, squares_, gradients_;  // [parameter]; Adam's
  uint32_t step_ = 0;
};

}  // namespace cairn::stack
