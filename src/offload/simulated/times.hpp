// Expected times of a model's subgraphs on a simulated phone, in each of llm.npu's stages (its Figure 19).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
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

// The tasks of a prompt on that phone, with its times.
TaskGraph simulated_tasks(const simulated::PhoneConstants& phone, const ModelSizes& sizes,
                          std::span<const uint32_t> lengths, Stage stage, double prune);

// Seconds of a prompt on that phone in the last stage, with look-ahead: what chooses the chunk when no other
// profile is there, the same for all stages so that they differ in nothing else.
PromptSeconds simulated_profile(const simulated::PhoneConstants& phone, const ModelSizes& sizes,
                                double prune);

}  // namespace cairn::offload
