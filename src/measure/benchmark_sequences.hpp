#pragma once

#include <vector>

#include "measure/benchmark.hpp"

namespace cairn::measure {

// Tokens a second of one interleaved round: all sequences' tokens by the time that all of them took.
struct SequencesRound {
  double alone_tok_s;     // one sequence after the other
  double together_tok_s;  // one step gives each a token
};

struct SequencesResult {
  std::vector<SequencesRound> rounds;
  double alone_tok_s, together_tok_s, ratio;  // medians; each ratio taken inside its own round first
};

// Reads options.prompt pseudo-random tokens into each of `sequences`, then decodes options.generate tokens of
// each, together and one after the other, options.repeat times. Errors: as run_benchmark.
SequencesResult run_sequences(const std::string& model_path, uint32_t sequences,
                              const BenchmarkOptions& options,
                              const std::function<void(uint32_t done, uint32_t total)>& progress);

}  // namespace cairn::measure
