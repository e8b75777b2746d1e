#pragma once

#include <utility>

#include "fake_engine.hpp"

namespace cairn::llm::fake {

// As if it were a stack: drafts answer by another function.
class Stack : public Engine {
 public:
  Stack(uint32_t vocabulary, uint32_t context, uint32_t chunk, Next next, Next rough)
      : Engine(
            vocabulary, context, chunk,
            [this, next = std::move(next), rough = std::move(rough)](const std::vector<int32_t>& sequence) {
              return drafts_ ? rough(sequence) : next(sequence);
            }) {}
  bool elastic() const override { return true; }
  void draft(std::span<const engine::Slice> slices, double bits,
             const engine::Cancelled& cancelled) override {
    if (on_draft) on_draft(bits);
    drafts_ = true;
    const double usual = std::exchange(takes, 0);
    try {
      step(slices, cancelled);
    } catch (...) {
      drafts_ = false;
      takes = usual;
      throw;
    }
    drafts_ = false;
    takes = usual;
    ++drafted;
  }

  std::function<void(double bits)> on_draft;
  uint32_t drafted = 0;  // steps

 protected:
  bool drafts() const { return drafts_; }

 private:
  bool drafts_ = false;
};

}  // namespace cairn::llm::fake
