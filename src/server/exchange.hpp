#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "server/outbox.hpp"
#include "server/reply.hpp"

namespace cairn::server {

// The answer under way between the threads that write it and the connection that sends it.
class Exchange : public Reply {
 public:
  enum class State : uint8_t { waits, whole, begun, ended };

  Exchange(std::weak_ptr<Connection> connection, std::shared_ptr<Outbox> outbox, size_t pending_bytes)
      : connection_(std::move(connection)), outbox_(std::move(outbox)), pending_bytes_(pending_bytes) {}

  void add_headers(Headers headers) override;
  void send(int status, std::string_view type, std::string body, Headers headers) override;
  void begin(int status, std::string_view type, Headers headers) override;
  void write(std::string_view piece) override;
  void end() override;
  void when_gone(std::function<void()> action) override;

  // The connection's side, on its thread.
  struct Taken {
    State state = State::waits;
    std::string bytes;
    bool overflown = false;
  };
  Taken take();  // what is to be sent by now
  void leave();  // the client has left
  bool gone() const;
  int status() const { return status_; }  // these once it has begun
  const Headers& headers() const { return headers_; }

 private:
  void start(int status, std::string_view type, Headers headers);
  template <class Change>
  void change(const Change& change);

  const std::weak_ptr<Connection> connection_;
  const std::shared_ptr<Outbox> outbox_;
  const size_t pending_bytes_;
  mutable std::mutex mutex_;  // of all that follows
  State state_ = State::waits;
  int status_ = 0;
  Headers headers_;
  std::string bytes_;
  bool woken_ = false, gone_ = false, overflown_ = false;
  std::function<void()> when_gone_;
};

}  // namespace cairn::server
