#pragma once

#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include "client.hpp"
#include "server/http_server.hpp"

namespace cairn::server {

// A server on a free port, by a thread of its own.
class RunningServer {
 public:
  explicit RunningServer(Handler handler, HttpOptions options = {}) : http(on_free_port(std::move(options))) {
    thread_ = std::thread([this, taken = std::move(handler)] { http.run(taken); });
    for (bool listens = false; !listens;) {
      try {
        Client probe(port());
        listens = true;
      } catch (const std::runtime_error&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  }
  ~RunningServer() {
    if (!thread_.joinable()) return;
    http.stop();
    http.stop();  // and cut
    thread_.join();
  }
  void join() { thread_.join(); }
  uint16_t port() const { return http.port(); }

  HttpServer http;

 private:
  static HttpOptions on_free_port(HttpOptions options) {
    options.port = 0;
    return options;
  }
  std::thread thread_;
};

}  // namespace cairn::server
