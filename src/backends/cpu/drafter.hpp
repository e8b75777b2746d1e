#pragma once

#include <list>
#include <span>
#include <vector>

#include "backends/cpu/executor.hpp"
#include "engine/engine.hpp"

namespace cairn::cpu {

// Runs the layer that drafts (graph::Draft): it reads along with an engine's steps, and guesses.
class Drafter {
 public:
  Drafter(const graph::Model& model, const Sequences& sequences, RowExecutor& rows)
      : model_(model), sequences_(sequences), rows_(rows) {}

  bool any() const { return !model_.draft.empty(); }
  // Where a step's hidden states go, [tokens][embedding] each: where the slice wants them, else, if they are
  // needed, into memory of our own, until the next step; null: nowhere.
  std::vector<float*> hidden(std::span<const engine::Slice> slices);
  // Behind a step: reads the slice's tokens, each with what the head multiplied for the one before it. rows:
  // as rows the slice was run.
  void follow(const engine::Slice& slice, const float* hidden, bool rows);
  // Guesses behind one token of each slice, whose sequences have pages for it. Error invalid_argument: more
  // tokens, none read before, or guesses beyond the context.
  void check(std::span<const engine::Slice> slices, uint32_t context) const;
  void guess(std::span<const engine::Slice> slices);

 private:
  void guess_rows(std::span<const engine::Slice> slices);

  const graph::Model& model_;
  const Sequences& sequences_;
  RowExecutor& rows_;
  std::list<std::vector<float>> own_;
};

}  // namespace cairn::cpu
