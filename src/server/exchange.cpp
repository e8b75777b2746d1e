#include "server/exchange.hpp"

#include <boost/asio/post.hpp>
#include <utility>

#include "server/connection.hpp"

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

void Exchange::send(int status, std::string_view type, std::string body, Headers headers) {
  const std::lock_guard lock(mutex_);
  if (gone_ || state_ != State::waits) return;
  start(status, type, std::move(headers));
  bytes_ = std::move(body);
  state_ = State::whole;
  wake();
}

void Exchange::begin(int status, std::string_view type, Headers headers) {
  const std::lock_guard lock(mutex_);
  if (gone_ || state_ != State::waits) return;
  start(status, type, std::move(headers));
  state_ = State::begun;
  wake();
}

void Exchange::write(std::string_view piece) {
  const std::lock_guard lock(mutex_);
  if (gone_ || state_ != State::begun || overflown_) return;
  overflown_ = bytes_.size() + piece.size() > pending_bytes_;
  if (!overflown_) bytes_ += piece;
  wake();
}

void Exchange::end() {
  const std::lock_guard lock(mutex_);
  if (gone_ || state_ != State::begun) return;
  state_ = State::ended;
  wake();
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

// One flush for all that is written until it runs.
void Exchange::wake() {
  if (std::exchange(woken_, true)) return;
  boost::asio::post(executor_, [self = shared_from_this()] {
    if (const auto connection = self->connection_.lock()) connection->flush();
  });
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
