#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/graph.hpp"
#include "quantize/scheme.hpp"
#include "stack/differentiate.hpp"

namespace cairn::stack {

struct TuneOptions {
  uint32_t steps = 0;                          // of Adam; 0: no tuning
  uint32_t batch = 4;                          // windows a step
  uint32_t windows = 200;                      // most windows of the text
  float rate = 3e-3f;                          // of the first steps, falling to 0 along a cosine
  uint64_t teacher_bytes = uint64_t{1} << 30;  // for what the source makes of the windows
};

// Learns the scales of nested codes, one a row and level, so that prefixes of the order predict what the
// source predicts (distillation; the codes stay). Each step takes another prefix, from 1.6 bits a weight to
// all of them. Plain C++ on the op lists, so that it works wherever cairn does. Holds the codes, a byte a
// weight, and of each layer what it begins with.
class ScaleTuner {
 public:
  // The layout's order counts, `read` gives its blocks. windows: of equal length, a multiple of 64 tokens;
  // as many of them are used as teacher_bytes allow. All but options must outlive the tuner.
  ScaleTuner(const gguf::File& source, const graph::Model& model, const Layout& layout,
             const BlockSource& read, Differentiator::Windows windows, const TuneOptions& options,
             uint32_t threads);

  uint32_t steps() const { return step_; }  // done
  // One step; returns the KL from the source, nats a token, of the prefix and windows that it took. tick is
  // called every some tenths of a second; what it throws leaves the tuner as it was before the step.
  double advance(const std::function<void()>& tick);
  // The KL of a prefix of so many bits over the first `windows`, without a step.
  double measure(double bits, size_t windows);

  // What the steps so far have made, to go on from by another tuner of the same arguments.
  std::vector<std::byte> state() const;
  void restore(std::span<const std::byte> state);

  // Writes the tuned scales into a block's bytes (level 1 to 6; others stay).
  void apply(const Block& block, std::span<std::byte> bytes) const;

 private:
  using Levels = std::vector<std::vector<uint8_t>>;  // [matrix][group]
  struct Codes {
    std::vector<uint8_t> codes;    // [stored row][columns]
    std::vector<uint32_t> stored;  // of the source's rows
    std::vector<float> scales;     // [level − 1][stored row], untuned
    size_t first = 0;              // of its parameters, [level − 1][stored row]
    quantize::Rotation rotation;
  };

  // What works on one window at a time: with a thread each there is nothing to wait for.
  struct Worker {
    Worker(size_t threads, const gguf::File& source, const graph::Model& model, uint32_t window,
           Differentiator::ReadRow read_row);
    ThreadPool pool;
    Differentiator teacher, student;
  };
  using Tick = std::function<void()>;

  size_t parameter(const Codes& codes, uint8_t level, size_t stored) const {
    return codes.first + (level - 1) * codes.stored.size() + stored;
  }
  Levels levels_at(double bits) const;
  bool read_row(const std::string& tensor, uint64_t row, float* out) const;
  double gradients(std::span<const size_t> batch, const Levels& levels, const Tick& tick);
  double window_gradients(Worker& worker, size_t window, std::vector<float>& gradients, const Tick& tick);

  const Layout& layout_;
  Differentiator::Windows windows_;
  TuneOptions options_;
  std::vector<Codes> codes_;  // [matrix]
  std::unordered_map<std::string, uint32_t> matrices_;
  std::vector<Levels> prefixes_;    // [budget]
  const Levels* levels_ = nullptr;  // of the work at hand
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Differentiator::Buffer> teachers_;              // [window], empty until needed
  std::vector<std::vector<float>> parts_;                     // [window of the batch][parameter]
  std::vector<float> changes_, means_, squares_, gradients_;  // [parameter]; Adam's
  uint32_t step_ = 0;
};

}  // namespace cairn::stack
