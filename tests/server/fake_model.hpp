// A model without weights whose answers are known beforehand.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "llm/fake_engine.hpp"
#include "llm/fake_tokenizer.hpp"
#include "server/models.hpp"

namespace cairn::server {

inline constexpr uint32_t kVocabulary = 260, kContext = 512;
inline constexpr const char* kTemplate =
    "{% for m in messages %}{% if m.content == 'fail' %}{{ raise_exception('no such turn') }}{% endif %}"
    "<|user|>{{ m.content }}{% endfor %}<|assistant|>";

// Answers "abcdef", then the end.
inline int32_t alphabet(const std::vector<int32_t>& sequence) {
  size_t written = 0;
  while (written < sequence.size() && sequence[sequence.size() - 1 - written] < 'g' &&
         sequence[sequence.size() - 1 - written] >= 'a')
    ++written;
  return written == 6 ? llm::fake::kEnd : static_cast<int32_t>('a' + written);
}

// A text, then the end, after whatever prompt ends with the assistant's mark.
inline llm::fake::Engine::Next answering(std::string text) {
  return [text = std::move(text)](const std::vector<int32_t>& sequence) -> int32_t {
    const auto mark = std::find(sequence.rbegin(), sequence.rend(), llm::fake::kAssistant);
    const auto written = static_cast<size_t>(mark - sequence.rbegin());
    return written < text.size() ? static_cast<unsigned char>(text[written]) : llm::fake::kEnd;
  };
}

// Its steps wait in their middle while it is closed; it may be without memory, and of a stack.
class Engine : public llm::fake::Engine {
 public:
  explicit Engine(Next next = alphabet) : llm::fake::Engine(kVocabulary, kContext, 128, std::move(next)) {
    cancels = true;
    model_.parameters.embedding = 4;
  }
  using engine::Engine::step;
  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    ++steps;
    while (closed) {
      engine::throw_if(cancelled);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    llm::fake::Engine::step(slices, cancelled);
  }
  void reserve(engine::Sequence&, uint32_t) override {
    if (full) fail(ErrorCode::out_of_memory, "no room");
  }
  bool elastic() const override { return stack; }
  void set_memory(uint64_t bytes) override {
    if (!stack) return engine::Engine::set_memory(bytes);
    if (bytes != 0 && bytes < 1000) fail(ErrorCode::out_of_memory, "a budget of {} is too small", bytes);
    status.budget = bytes;
    status.automatic = false;
  }
  void set_memory_auto() override {
    if (!stack) return engine::Engine::set_memory(0);
    status.automatic = true;
  }
  engine::MemoryStatus memory() const override { return status; }

  std::atomic<bool> closed{false}, full{false};
  std::atomic<int> steps{0};
  bool stack = false;
  engine::MemoryStatus status;
};

inline std::shared_ptr<ServedModel> fake_model(const std::string& name, std::shared_ptr<Engine> engine,
                                               llm::SchedulerOptions scheduler = {},
                                               const std::string& chat_template = kTemplate) {
  auto model = std::make_shared<ServedModel>();
  auto tokenizer = std::make_shared<llm::fake::Tokenizer>();
  model->name = name;
  model->tokenizer = tokenizer;
  model->chat_template = [chat_template] { return std::make_shared<text::ChatTemplate>(chat_template); };
  model->engine = engine;
  model->defaults.sampler.temperature = 0;
  model->scheduler = std::make_unique<llm::Scheduler>(std::move(engine), tokenizer, std::move(scheduler));
  return model;
}

}  // namespace cairn::server
