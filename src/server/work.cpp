#include "server/work.hpp"

#include <utility>

#include "base/error.hpp"

namespace cairn::server {

Work::Work(const Call& call)
    : path_(call.request.path),
      model_(call.model),
      metrics_(call.metrics),
      reply_(call.reply),
      deadline_(call.deadline) {}

void Work::start() {
  {
    const std::lock_guard lock(mutex_);  // callbacks wait until all is under way
    try {
      begin();
    } catch (...) {
      over_ = true;
      cancel();
      tickets_.clear();
      throw;
    }
    begun();
  }
  reply_->when_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->client_left();
  });
}

void Work::submit(llm::Request request) {
  const size_t index = tickets_.size();
  if (deadline_.set())
    request.options.cancelled = [self = shared_from_this()] { return self->deadline_.over(); };
  request.finished = [self = shared_from_this(), index] { self->settled(index); };
  tickets_.push_back(model_->scheduler->submit(std::move(request)));
  ++left_;
}

// On the scheduler's thread, when the ticket need not wait any more.
void Work::settled(size_t index) {
  const std::lock_guard lock(mutex_);
  if (index >= tickets_.size()) return;  // the submission of the others failed
  --left_;
  try {
    const llm::Result result = tickets_[index].wait();
    count(result);
    if (result.finish == llm::FinishReason::cancelled && !over_) {
      if (deadline_.over()) throw deadline_.error();
      cairn::fail(ErrorCode::cancelled, "the server is shutting down");
    }
    if (!over_) finished(index, result);
    if (left_ == 0 && !over_) {
      end();
      over_ = true;
    }
  } catch (const std::exception& error) {
    fail(error);
  }
  if (left_ == 0) tickets_.clear();  // which hold this
}

void Work::cancel() {
  for (auto& ticket : tickets_) ticket.cancel();
}

void Work::client_left() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(over_, true)) return;
  metrics_.gone();
  cancel();
}

void Work::fail(const std::exception& error) {
  if (std::exchange(over_, true)) return;
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known != nullptr && known->code() == ErrorCode::io) model_->broken = true;
  const ApiError refusal = api_error(error);
  metrics_.refused(path_, refusal.status());
  tell(refusal);
  cancel();
}

void Work::tell(const ApiError& error) {
  error.send(*reply_, error_form(path_));
}

}  // namespace cairn::server
