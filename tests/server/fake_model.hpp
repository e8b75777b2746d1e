#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "llm/fake_engine.hpp"
#include "llm/fake_tokenizer.hpp"
#include "server/models.hpp"

namespace cairn::server {

// A model without weights that writes 'a' for ever, and waits in the middle of a step while it is closed.
class FakeModelEngine : public llm::fake::Engine {
 public:
  explicit FakeModelEngine(std::atomic<int>& alive)
      : llm::fake::Engine(260, 512, 128, [](const auto&) { return 'a'; }), alive_(alive) {
    cancels = true;
    ++alive_;
  }
  ~FakeModelEngine() override { --alive_; }
  using engine::Engine::step;
  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    while (closed) {
      engine::throw_if(cancelled);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    llm::fake::Engine::step(slices, cancelled);
  }
  bool elastic() const override { return stack; }
  void set_memory(uint64_t bytes) override {
    if (!stack) return Engine::set_memory(bytes);
    if (bytes != 0 && bytes < 1000) fail(ErrorCode::invalid_argument, "a budget of {} is too small", bytes);
    status.budget = bytes;
    status.automatic = false;
  }
  void set_memory_auto() override {
    if (!stack) return Engine::set_memory(0);
    status.automatic = true;
  }
  engine::MemoryStatus memory() const override { return status; }

  std::atomic<bool> closed{false};
  bool stack = false;
  engine::MemoryStatus status;

 private:
  std::atomic<int>& alive_;
};

inline std::shared_ptr<ServedModel> fake_model(const std::string& name,
                                               std::shared_ptr<FakeModelEngine> engine) {
  auto model = std::make_shared<ServedModel>();
  auto tokenizer = std::make_shared<llm::fake::Tokenizer>();
  model->name = name;
  model->tokenizer = tokenizer;
  model->chat_template = [] { return std::make_shared<text::ChatTemplate>("{{ messages[0].content }}"); };
  model->engine = engine;
  model->defaults.sampler.temperature = 0;
  model->scheduler = std::make_unique<llm::Scheduler>(std::move(engine), tokenizer);
  return model;
}

}  // namespace cairn::server
