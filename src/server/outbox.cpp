#include "server/outbox.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace cairn::server {
namespace {

int make_event() {
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) fail(ErrorCode::io, "the server's thread cannot be woken: {}", std::strerror(errno));
  return event;
}

}  // namespace

Outbox::Outbox() : event_(make_event()) {}

Outbox::~Outbox() {
  close(event_);
}

void Outbox::put(std::weak_ptr<Connection> connection) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(std::move(connection));
  }
  if (first) eventfd_write(event_, 1);
}

std::vector<std::weak_ptr<Connection>> Outbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(waiting_, {});
}

}  // namespace cairn::server
