#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <vector>

#include "base/error.hpp"
#include "device/runner.hpp"

namespace cairn::llm::fake {

// A runner without a model: the logits after a sequence are one-hot at `next(sequence)`, so a wrong cache
// shows as a wrong token. Counts what is forwarded.
class Runner : public device::Runner {
 public:
  using Next = std::function<int32_t(const std::vector<int32_t>& sequence)>;

  Runner(uint32_t vocabulary, uint32_t context, uint32_t chunk, Next next)
      : context_(context), chunk_(chunk), next_(std::move(next)) {
    model_.parameters.vocabulary = vocabulary;
    model_.parameters.context = context;
  }

  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return context_; }
  uint32_t chunk() const override { return chunk_; }
  uint32_t length() const override { return static_cast<uint32_t>(sequence.size()); }
  uint64_t kv_bytes() const override { return 0; }
  uint64_t scratch_bytes() const override { return 0; }

  void forward(std::span<const int32_t> tokens, uint32_t position, device::Logits wanted,
               float* logits) override {
    if (tokens.empty() || tokens.size() > chunk_) throw std::logic_error("a pass of the wrong size");
    if (position > sequence.size()) throw std::logic_error("a gap in the cache");
    if (position + tokens.size() > context_) fail(ErrorCode::invalid_argument, "beyond the context");
    passes.push_back(static_cast<uint32_t>(tokens.size()));
    sequence.resize(position);
    for (const int32_t token : tokens) {
      if (cancels) throw_if_cancelled();
      sequence.push_back(token);
      if (on_token) on_token(sequence);
    }
    if (wanted == device::Logits::none) return;
    if (wanted != device::Logits::last) throw std::logic_error("a session wants the last logits only");
    std::fill(logits, logits + model_.parameters.vocabulary, 0.0f);
    logits[next_(sequence)] = 10.0f;
    if (on_logits) on_logits(logits);
  }

  uint32_t forwarded() const {
    uint32_t sum = 0;
    for (const uint32_t size : passes) sum += size;
    return sum;
  }

  std::vector<int32_t> sequence;  // what is in the cache
  std::vector<uint32_t> passes;   // the size of every pass
  std::function<void(const std::vector<int32_t>&)> on_token;
  std::function<void(float*)> on_logits;
  bool cancels = false;  // whether passes can be cancelled before any of their tokens

 private:
  graph::Model model_;
  uint32_t context_;
  uint32_t chunk_;
  Next next_;
};

}  // namespace cairn::llm::fake
