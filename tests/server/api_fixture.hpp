// A served model whose answers are known beforehand.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fake_model.hpp"
#include "served_api.hpp"
#include "server/fields.hpp"

namespace cairn::server {

// A server of one model, "tiny".
struct Fixture {
  explicit Fixture(ApiOptions options = {}, llm::SchedulerOptions scheduler = {},
                   std::shared_ptr<Engine> given = {}, std::string chat_template = kTemplate)
      : engine(given ? std::move(given) : std::make_shared<Engine>()) {
    ModelSource source;
    source.name = "tiny";
    source.load = [this, scheduler, chat_template] {
      return fake_model("tiny", engine, scheduler, chat_template);
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
