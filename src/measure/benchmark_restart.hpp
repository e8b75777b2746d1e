#pragma once

#include <vector>

#include "measure/benchmark.hpp"

namespace cairn::measure {

// Seconds from a prompt to its first token: of an engine that never saw it, and of another that finds what
// the first has kept on disk, looking for it and reading it included.
struct RestartRound {
  double first_s, again_s;
};

struct RestartResult {
  std::vector<RestartRound> rounds;
  double first_s, again_s, ratio;  // medians; each ratio taken inside its own round first
  uint32_t cached_tokens;          // of the prompt, that came from disk
  uint64_t bytes;                  // on disk
};

// options.prompt pseudo-random tokens, options.repeat times, each in an empty folder of its own that is
// removed again. Errors: as run_benchmark; io (no folder for temporary files).
RestartResult run_restart(const std::string& model_path, const BenchmarkOptions& options,
                          const std::function<void(uint32_t done, uint32_t total)>& progress);

}  // namespace cairn::measure
