#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "measure/log_probability.hpp"
#include "offload/engine.hpp"
#include "quantize/calibration.hpp"
#include "text/tokenizer.hpp"

namespace cairn::measure {

// A scheme that treats nothing: every product in float.
quantize::Scheme float_scheme(size_t layers);

// How far an engine's predictions are from those it made in float, over the last positions of some windows.
class DivergenceMeter {
 public:
  // Runs the windows under the engine's scheme of now, the reference; keeps the logits of the last positions
  // of each window, half of them at most and as many as fit in 128 MiB together.
  DivergenceMeter(offload::PrefillEngine& engine, ThreadPool& pool,
                  std::span<const std::vector<text::Token>> windows);
  // Mean KL divergence (nats a token) of the reference from the engine's scheme of now.
  // Error numeric: NaN or infinity in the logits.
  double measure();
  uint64_t positions() const { return windows_.size() * rows_; }

 private:
  void run(std::span<const text::Token> window, float* logits);

  offload::PrefillEngine& engine_;
  ThreadPool& pool_;
  std::span<const std::vector<text::Token>> windows_;
  size_t vocabulary_, rows_;
  std::vector<float> reference_;       // [windows][rows][vocabulary]
  std::vector<RowSummary> summaries_;  // [windows][rows]
};

// Median seconds of each subgraph of `schemes`' prefills on a device.
quantize::DeviceTimes measure_times(const gguf::File& file, const offload::PrefillOptions& options,
                                    std::span<const quantize::Scheme> schemes, uint32_t chunks,
                                    std::span<const text::Token> tokens);

}  // namespace cairn::measure
