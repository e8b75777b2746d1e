#pragma once

#include <vector>

#include "measure/benchmark.hpp"

namespace cairn::measure {

// Seconds of one round: between two tokens of a sequence that answers, at most and in the middle, while a
// prompt is read beside it; and of reading one chunk of it with nobody beside.
struct GapRound {
  double longest_s, median_s, chunk_s;
};

struct GapResult {
  std::vector<GapRound> rounds;
  double longest_s, median_s, chunk_s, ratio;  // medians; longest in chunks, taken inside its own round first
  uint32_t chunk;                              // tokens
};

// `sequences` requests answer while a prompt of options.prompt pseudo-random tokens is read, options.repeat
// times, by a Scheduler as it is by default. Errors: as run_benchmark.
GapResult run_gap(const std::string& model_path, uint32_t sequences, const BenchmarkOptions& options,
                  const std::function<void(uint32_t done, uint32_t total)>& progress);

}  // namespace cairn::measure
