// A whole prefill on a simulated phone: llm.npu's stages one after the other (its Figure 19).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "offload/chunks.hpp"
#include "offload/simulated/phone.hpp"
#include "offload/tasks.hpp"

namespace cairn::offload {

// naive: the prompt is one chunk whose graphs are made first, int8 in groups (no outlier needs help then).
// chunks: shared graphs of a fixed length, made beforehand. outliers: one scale a tensor, shadow execution.
enum class Stage : uint8_t { naive, chunks, outliers };
const char* name(Stage stage);
Stage parse_stage(std::string_view name);  // Error invalid_argument lists the names

// Expected times of a model's subgraphs on a phone. Chunk i has lengths[i] tokens and sees those before it.
class SimulatedTimes final : public TaskSeconds {
 public:
  using Shadow = std::vector<std::array<bool, 4>>;
  SimulatedTimes(const simulated::Phone& phone, const ModelSizes& sizes, std::span<const uint32_t> lengths,
                 Stage stage, Shadow shadow);
  double seconds(uint32_t chunk, uint32_t layer, TaskKind kind) const override;

 private:
  double npu(uint32_t tokens, std::span<const simulated::Product> products) const;
  double attention(uint32_t chunk) const;
  double shadow(uint32_t tokens, uint64_t k, uint64_t rows) const;

  simulated::Phone phone_;
  ModelSizes sizes_;
  std::vector<uint32_t> lengths_, positions_;
  Stage stage_;
  Shadow shadow_;
};

// Which inputs keep shadow execution when a share of them, `prune` (0 … 1), is left out: those of layers near
// the model's input and output (llm.npu: the most important), within a layer down, attention output, qkv,
// gate and up, in the order of their outliers' importance.
std::vector<std::array<bool, 4>> shadow_inputs(uint32_t layers, double prune);

struct SimulateOptions {
  std::string device = "snapdragon-8gen3", shape = "qwen1.5-1.8b";
  uint32_t prompt = 512, chunk = 0;  // chunk 0: chosen by the simulated times
  Stage stage = Stage::outliers;
  Policy policy = Policy::look_ahead;
  double prune = 0.85;
};

struct SimulateResult {
  ChunkPlan plan;
  SimulatedRun run;
  uint32_t inputs = 0, shadow_inputs = 0;  // of the model's linear inputs, those with shadow work
  double makespan = 0, tokens_per_second = 0, decision_seconds = 0;  // the last: of one decision
};

// Errors: invalid_argument (device, shape, prompt, chunk, prune).
SimulateResult simulate_prefill(const SimulateOptions& options);

// Seconds of a prompt on that phone in the last stage, with look-ahead: what chooses the chunk when no other
// profile is there, the same for all stages so that they differ in nothing else.
PromptSeconds simulated_profile(const simulated::PhoneConstants& phone, const ModelSizes& sizes,
                                double prune);

}  // namespace cairn::offload
