#include "server/exchange.hpp"

#include <utility>

namespace cairn::server {

void Exchange::add_headers(Headers headers) {
  const std::lock_guard lock(mutex_);
  headers_.insert(headers_.end(), headers.begin(), headers.end());
}

void Exchange::start(int status, std::string_view type, Headers headers) {
  status_ = status;
  if (!type.empty()) headers_.emplace_back("Content-Type", type);
  headers_.insert(headers_.end(), headers.begin(), headers.end());
}

// One flush for all that is written until it runs. Change: true if there is something to send.
template <class Change>
void Exchange::change(const Change& change) {
  {
    const std::lock_guard lock(mutex_);
    if (gone_ || !change() || std::exchange(woken_, true)) return;
  }
  outbox_->put(connection_);
}

void Exchange::send(int status, std::string_view type, std::string body, Headers headers) {
  change([&] {
    if (state_ != State::waits) return false;
    start(status, type, std::move(headers));
    bytes_ = std::move(body);
    state_ = State::whole;
    return true;
  });
}

void Exchange::begin(int status, std::string_view type, Headers headers) {
  change([&] {
    if (state_ != State::waits) return false;
    start(status, type, std::move(headers));
    state_ = State::begun;
    return true;
  });
}

void Exchange::write(std::string_view piece) {
  change([&] {
    if (state_ != State::begun || overflown_) return false;
    overflown_ = bytes_.size() + piece.size() > pending_bytes_;
    if (!overflown_) bytes_ += piece;
    return true;
  });
}

void Exchange::end() {
  change([&] {
    if (state_ != State::begun) return false;
    state_ = State::ended;
    return true;
  });
}

void Exchange::when_gone(std::function<void()> action) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      when_gone_ = std::move(action);
      return;
    }
  }
  action();
}

Exchange::Taken Exchange::take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  return {state_, std::exchange(bytes_, {}), overflown_};
}

void Exchange::leave() {
  std::function<void()> action;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(gone_, true)) return;
    action = std::move(when_gone_);
    bytes_ = {};
  }
  if (action) action();
}

bool Exchange::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

}  // namespace cairn::server
