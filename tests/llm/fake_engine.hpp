#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "engine/engine.hpp"

namespace cairn::llm::fake {

class Sequence : public engine::Sequence {
 public:
  uint32_t length() const override { return static_cast<uint32_t>(tokens.size()); }
  uint32_t truncate(uint32_t length) override {
    if (length > tokens.size()) throw std::logic_error("truncated to more than there is");
    tokens.resize(length > kept ? length : 0);
    return this->length();
  }
  std::unique_ptr<engine::Sequence> fork() const override { return std::make_unique<Sequence>(*this); }
  uint64_t bytes() const override { return tokens.size() * bytes_of_token; }

  std::vector<int32_t> tokens;
  uint64_t bytes_of_token = 0;
  uint32_t kept = 0;  // truncate() to this or less forgets all, as a window may
};

// What engines without a model share: one token after the other, and all of a step undone when it fails.
class EngineOfTokens : public engine::Engine {
 public:
  EngineOfTokens(uint32_t vocabulary, uint32_t context, uint32_t chunk) : context_(context), chunk_(chunk) {
    model_.parameters.vocabulary = vocabulary;
    model_.parameters.context = context;
  }
  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return context_; }
  uint32_t chunk() const override { return chunk_; }
  uint32_t rows() const override { return most_rows; }
  std::unique_ptr<engine::Sequence> make_sequence() override {
    auto made = std::make_unique<Sequence>();
    made->bytes_of_token = bytes_of_token;
    last_ = made.get();
    return made;
  }
  using Engine::step;
  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    const Stopwatch watch;
    engine::check_slices(*this, slices);
    for (const engine::Slice& slice : slices) {
      passes.push_back(static_cast<uint32_t>(slice.tokens.size()));
      auto& sequence = dynamic_cast<Sequence&>(*slice.sequence);
      const size_t before = sequence.tokens.size(), vocabulary = model_.parameters.vocabulary;
      try {
        float *out = slice.logits, *state = slice.hidden;
        for (size_t i = 0; i < slice.tokens.size(); ++i) {
          if (cancels) engine::throw_if(cancelled);
          sequence.tokens.push_back(slice.tokens[i]);
          if (on_token) on_token(sequence.tokens);
          if (state != nullptr) state = write_state(sequence.tokens, state);
          const bool last = i + 1 == slice.tokens.size();
          if (slice.wanted == engine::Logits::none || (slice.wanted == engine::Logits::last && !last))
            continue;
          write_logits(sequence.tokens, out);
          out += vocabulary;
        }
      } catch (...) {
        sequence.tokens.resize(before);
        throw;
      }
    }
    while (watch.seconds() < takes) {
    }
  }
  void reserve(engine::Sequence&, uint32_t) override {}
  uint64_t kv_bytes() const override { return 0; }
  uint64_t scratch_bytes() const override { return 0; }

  uint32_t forwarded() const {
    uint32_t sum = 0;
    for (const uint32_t size : passes) sum += size;
    return sum;
  }
  std::vector<int32_t>& sequence() { return last_->tokens; }  // of the last one that was made
  Sequence& made() { return *last_; }

  std::vector<uint32_t> passes;  // the size of every slice
  std::function<void(const std::vector<int32_t>&)> on_token;
  uint32_t most_rows = 1;
  uint64_t bytes_of_token = 0;  // that sequences made from now on say they have
  double takes = 0;             // at least so many seconds a step, however many its rows
  bool cancels = false;         // whether steps can be cancelled before any of their tokens

 protected:
  virtual void write_logits(const std::vector<int32_t>& sequence, float* logits) = 0;
  // The last token, and how many there are. Returns what is behind it.
  virtual float* write_state(const std::vector<int32_t>& sequence, float* state) {
    for (uint32_t i = 0; i < model_.parameters.embedding; ++i)
      *state++ = static_cast<float>(i % 2 == 0 ? static_cast<size_t>(sequence.back()) : sequence.size());
    return state;
  }

  graph::Model model_;
  uint32_t context_, chunk_;

 private:
  Sequence* last_ = nullptr;
};

// The logits after a sequence are one-hot at `next(sequence)`, so a wrong cache shows as a wrong token.
class Engine : public EngineOfTokens {
 public:
  using Next = std::function<int32_t(const std::vector<int32_t>& sequence)>;

  Engine(uint32_t vocabulary, uint32_t context, uint32_t chunk, Next next)
      : EngineOfTokens(vocabulary, context, chunk), next_(std::move(next)) {}

  std::function<void(float*)> on_logits;

 private:
  void write_logits(const std::vector<int32_t>& sequence, float* logits) override {
    std::fill_n(logits, model_.parameters.vocabulary, 0.0f);
    logits[next_(sequence)] = 10.0f;
    if (on_logits) on_logits(logits);
  }

  Next next_;
};

}  // namespace cairn::llm::fake
