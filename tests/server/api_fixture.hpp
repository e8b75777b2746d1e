// A served model whose answers are known beforehand.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "llm/fake_engine.hpp"
#include "llm/fake_tokenizer.hpp"
#include "served_api.hpp"
#include "server/fields.hpp"

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

// An engine whose steps wait while it is closed, and fail when told to.
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
  std::atomic<bool> closed{false}, full{false};
  std::atomic<int> steps{0};
};

// A text, then the end, after whatever prompt ends with the assistant's mark.
inline llm::fake::Engine::Next answering(std::string text) {
  return [text = std::move(text)](const std::vector<int32_t>& sequence) -> int32_t {
    const auto mark = std::find(sequence.rbegin(), sequence.rend(), llm::fake::kAssistant);
    const auto written = static_cast<size_t>(mark - sequence.rbegin());
    return written < text.size() ? static_cast<unsigned char>(text[written]) : llm::fake::kEnd;
  };
}

// A server of one model, "tiny".
struct Fixture {
  explicit Fixture(ApiOptions options = {}, llm::SchedulerOptions scheduler = {},
                   std::shared_ptr<Engine> given = {}, std::string chat_template = kTemplate)
      : engine(given ? std::move(given) : std::make_shared<Engine>()) {
    ModelSource source;
    source.name = "tiny";
    source.load = [this, scheduler, chat_template] {
      auto model = std::make_shared<ServedModel>();
      auto tokenizer = std::make_shared<llm::fake::Tokenizer>();
      model->name = "tiny";
      model->engine = engine;
      model->tokenizer = tokenizer;
      model->chat_template = [chat_template] { return std::make_shared<text::ChatTemplate>(chat_template); };
      model->defaults.sampler.temperature = 0;
      model->scheduler = std::make_unique<llm::Scheduler>(engine, tokenizer, scheduler);
      return model;
    };
    served = std::make_unique<ServedApi>(std::vector{source}, std::move(options));
  }

  uint16_t port() const { return served->port(); }
  Response ask(const std::string& path, const Json& body) {
    return Client(port()).ask("POST", path, body.dump());
  }
  // The data of a stream's events, to its end.
  std::vector<std::string> stream(const std::string& path, const Json& body) {
    Client client(port());
    client.request("POST", path, body.dump());
    client.read(false);
    std::vector<std::string> events;
    for (std::string event; !(event = client.read_event()).empty();) events.push_back(std::move(event));
    return events;
  }
  uint64_t metric(const std::string& name) {
    const std::string text = Client(port()).ask("GET", "/metrics").body;
    const size_t at = text.find("\n" + name);
    return at == std::string::npos ? 0 : std::stoull(text.substr(text.find("} ", at) + 2));
  }
  bool wait_for(const std::string& name, uint64_t value) {
    for (int i = 0; i < 2000; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(2))) {
      if (metric(name) == value) return true;
    }
    return false;
  }

  std::shared_ptr<Engine> engine;
  std::unique_ptr<ServedApi> served;  // last: it uses the engine
};

inline Json chat(Json more = Json::object()) {
  Json body = {{"model", "tiny"}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  body.update(more);
  return body;
}

}  // namespace cairn::server
