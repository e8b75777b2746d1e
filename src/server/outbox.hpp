#pragma once

#include <memory>
#include <mutex>
#include <vector>

namespace cairn::server {

class Connection;

// Connections whose answers have something to send, on their way from the threads that write answers to the
// server's own. That one may preempt who wakes it, and would wait for any lock that is held meanwhile, a
// time slice in all: so it is woken once, and with no lock held (which Asio's post() does not do).
class Outbox {
 public:
  Outbox();  // Error io: no descriptor
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  int descriptor() const { return event_; }  // can be read (8 bytes) when something was put in
  void put(std::weak_ptr<Connection> connection);
  std::vector<std::weak_ptr<Connection>> take();

 private:
  const int event_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Connection>> waiting_;
};

}  // namespace cairn::server
