#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

// What a client asked, as it came.
struct HttpRequest {
  std::string method;  // "GET", …
  std::string path;    // without the query
  std::string body;
  std::string host, origin, authorization, api_key;  // of the headers; empty: not there
  bool local = false;                                // the client is on this machine
};

// The answer to one request. May be used by any thread and outlive the connection: what is written to one
// that is gone is dropped. After send(), or end(), more calls do nothing.
class Reply {
 public:
  virtual ~Reply() = default;
  // Headers of send() and begin(), beside those that they are given; before either.
  virtual void add_headers(Headers headers) = 0;
  // The whole answer.
  virtual void send(int status, std::string_view type, std::string body, Headers headers = {}) = 0;
  // An answer in pieces: begin, write …, end.
  virtual void begin(int status, std::string_view type, Headers headers = {}) = 0;
  virtual void write(std::string_view piece) = 0;
  virtual void end() = 0;
  // Calls `action` when the client has left before the answer was whole, at once if it has already; on the
  // server's thread, or on this one. It must not block.
  virtual void when_gone(std::function<void()> action) = 0;
};

// Called on the server's thread for each request: it must not block, and answer sooner or later.
using Handler = std::function<void(HttpRequest request, std::shared_ptr<Reply> reply)>;

}  // namespace cairn::server
