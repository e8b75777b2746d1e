// A whole prefill on a simulated phone: llm.npu's stages one after the other (its Figure 19).
#pragma once

#include <cstdint>
#include <string>

#include "offload/chunks.hpp"
#include "offload/simulated/times.hpp"
#include "offload/tasks.hpp"

namespace cairn::measure {

struct SimulateOptions {
  std::string device = "snapdragon-8gen3", shape = "qwen1.5-1.8b";
  uint32_t prompt = 512, chunk = 0;  // chunk 0: chosen by the simulated times
  offload::Stage stage = offload::Stage::outliers;
  offload::Policy policy = offload::Policy::look_ahead;
  double prune = 0.85;
};

struct SimulateResult {
  offload::ChunkPlan plan;
  offload::SimulatedRun run;
  uint32_t inputs = 0, shadow_inputs = 0;  // of the model's linear inputs, those with shadow work
  double makespan = 0, tokens_per_second = 0, decision_seconds = 0;  // the last: of one decision
};

// Errors: invalid_argument (device, shape, prompt, chunk, prune), unsupported (mixtures, recurrent states).
void check(const SimulateOptions& options);
SimulateResult simulate_prefill(const SimulateOptions& options);

}  // namespace cairn::measure
