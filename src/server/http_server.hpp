// server: HTTP in front of the engine: connections, OpenAI's and our own paths, metrics.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/reply.hpp"

namespace cairn::server {

struct HttpOptions {
  std::string host = "127.0.0.1";  // a name or an address
  uint16_t port = 8080;            // 0: one that is free
  size_t header_bytes = 32 << 10, body_bytes = 16 << 20;
  size_t connections = 1024;                       // at a time; others wait to be accepted
  size_t pending_bytes = 4 << 20;                  // of an answer that its client does not read; more ends it
  std::chrono::milliseconds idle{75'000};          // a connection between two requests
  std::chrono::milliseconds request_time{60'000};  // from a request's first byte to its last
  std::chrono::milliseconds write_time{30'000};    // until a client takes some more of its answer
  std::chrono::milliseconds drain{30'000};         // for what runs, after stop()
  // Called on the server's thread once clients can connect, and when no more of them can.
  std::function<void()> listening{}, stopping{};
};

// HTTP/1.1 by Boost.Beast, all of it on the thread that calls run(). A client that closes its connection, or
// its sending half, while its answer is under way is gone (Reply::when_gone).
class HttpServer {
 public:
  // Takes the address, so that nobody else does. Errors: io (in use, not of this machine, not allowed),
  // invalid_argument (a host that cannot be resolved).
  explicit HttpServer(HttpOptions options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  std::string address() const;  // "127.0.0.1:8080", "[::1]:8080"

  // Serves until stop(), or SIGINT or SIGTERM if `signals`; a second signal cuts off what runs. Errors: io.
  // Replies must not be used once the server is destroyed.
  void run(Handler handler, bool signals = false);
  // From any thread: no new connections and requests; returns from run() when what runs is answered or
  // HttpOptions::drain is over. A second call cuts off what runs.
  void stop();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::server
