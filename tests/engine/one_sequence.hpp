// An engine with one sequence, for tests that run tokens at given positions.
#pragma once

#include <memory>
#include <utility>

#include "engine/engine.hpp"

namespace cairn::engine {

struct OneSequence {
  explicit OneSequence(std::unique_ptr<Engine> made)
      : engine(std::move(made)), sequence(engine->make_sequence()) {}

  // Tokens at [position, …); what was behind is forgotten.
  void run(std::span<const int32_t> tokens, uint32_t position, Logits wanted, float* logits,
           const Cancelled& cancelled = {}) {
    sequence->truncate(position);
    engine->step({sequence.get(), tokens, wanted, logits}, cancelled);
  }
  uint32_t length() const { return sequence->length(); }
  size_t vocabulary() const { return engine->model().parameters.vocabulary; }

  std::unique_ptr<Engine> engine;
  std::unique_ptr<Sequence> sequence;
};

}  // namespace cairn::engine
