#include "server/work.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/error.hpp"

namespace cairn::server {

Work::Work(std::string path, ServedModel& model, Metrics& metrics, std::shared_ptr<Reply> reply)
    : path_(std::move(path)),
      model_(model),
      metrics_(metrics),
      reply_(std::move(reply)),
      held_(model.hold ? model.hold() : nullptr),
      deadline_(model.answer_time.count() > 0 ? std::chrono::steady_clock::now() + model.answer_time
                                              : std::chrono::steady_clock::time_point::max()) {}

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
  if (model_.answer_time.count() > 0)
    request.options.cancelled = [self = shared_from_this()] { return self->late(); };
  request.finished = [self = shared_from_this(), index] { self->settled(index); };
  tickets_.push_back(model_.scheduler->submit(std::move(request)));
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
      if (!late()) cairn::fail(ErrorCode::cancelled, "the server is shutting down");
      throw ApiError(504,
                     fmt::format("the answer was not whole after {} seconds (--request-timeout)",
                                 model_.answer_time.count()),
                     {}, "timeout");
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
  if (known != nullptr && known->code() == ErrorCode::io) model_.broken = true;
  const ApiError refusal = api_error(error);
  metrics_.refused(path_, refusal.status());
  tell(refusal);
  cancel();
}

void Work::tell(const ApiError& error) {
  error.send(*reply_, error_form(path_));
}

}  // namespace cairn::server
