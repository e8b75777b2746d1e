#ifndef CAIRN_BATCH_HPP
#define CAIRN_BATCH_HPP

#include <cairn/batch.h>

#include <cairn/engine.hpp>
#include <cairn/generate.hpp>

namespace cairn {
inline namespace v0 {

struct BatchOptions : cairn_batch_options {
  BatchOptions() { cairn_batch_options_init(this, sizeof(cairn_batch_options)); }
};

// A request that a batch has taken. What is not answered when it goes out of scope is cancelled.
class Request {
 public:
  void cancel() noexcept { cairn_request_cancel(request_.get()); }
  bool ready() const noexcept { return cairn_request_ready(request_.get()) != 0; }
  // Once.
  Result wait() { return calls_->completed(detail::answer(cairn_request_wait, request_.get())); }

 private:
  friend class Batch;
  Request(cairn_request* request, std::shared_ptr<detail::Calls> calls)
      : request_(request), calls_(std::move(calls)) {}

  detail::Owned<cairn_request, cairn_request_close> request_;
  std::shared_ptr<detail::Calls> calls_;
};

// Many requests on one engine at a time (cairn/batch.h). Any number of threads may use it.
class Batch {
 public:
  explicit Batch(const Engine& engine, const BatchOptions& options = {}) {
    cairn_batch* opened = nullptr;
    detail::check(cairn_batch_open, engine.get(), static_cast<const cairn_batch_options*>(&options), &opened);
    batch_.reset(opened);
  }

  // finished: called by the batch's thread when wait() would not wait any more; it must not throw.
  Request submit(const std::vector<std::int32_t>& prompt, const GenerateOptions& options = {},
                 int priority = 0, std::function<void()> finished = {}) {
    // The batch's thread calls until it says `finished`, whether or not the Request is still there.
    auto held = std::make_unique<Held>(std::make_shared<detail::Calls>(options), std::move(finished));
    cairn_generate_options c = *held->calls->c();
    c.user = held.get();
    if (c.on_token != nullptr) c.on_token = token;
    if (c.on_progress != nullptr) c.on_progress = progress;
    if (c.on_prompt != nullptr) c.on_prompt = prompt_read;
    c.is_cancelled = cancelled;
    cairn_request* request = nullptr;
    std::shared_ptr<detail::Calls> calls = held->calls;
    detail::check(cairn_batch_submit, batch_.get(), prompt.data(), prompt.size(),
                  static_cast<const cairn_generate_options*>(&c), static_cast<std::int32_t>(priority), end,
                  &request);
    held.release();
    return Request(request, std::move(calls));
  }

  cairn_batch_status status() const {
    cairn_batch_status status{};
    status.size = sizeof status;
    detail::check(cairn_batch_get_status, batch_.get(), &status);
    return status;
  }

  cairn_batch* get() const noexcept { return batch_.get(); }

 private:
  struct Held {
    Held(std::shared_ptr<detail::Calls> with, std::function<void()> at_end)
        : calls(std::move(with)), finished(std::move(at_end)) {}
    std::shared_ptr<detail::Calls> calls;
    std::function<void()> finished;
  };
  static const cairn_generate_options& of(void* user) { return *static_cast<Held*>(user)->calls->c(); }
  static int token(void* user, const cairn_token_event* event) {
    return of(user).on_token(of(user).user, event);
  }
  static void progress(void* user, std::uint32_t done, std::uint32_t total) {
    of(user).on_progress(of(user).user, done, total);
  }
  static void prompt_read(void* user, std::uint32_t first, const cairn_prompt_token* tokens,
                          std::size_t count) {
    of(user).on_prompt(of(user).user, first, tokens, count);
  }
  static int cancelled(void* user) { return of(user).is_cancelled(of(user).user); }
  static void end(void* user) noexcept {
    const std::unique_ptr<Held> held(static_cast<Held*>(user));
    if (held->finished) held->finished();
  }

  detail::Owned<cairn_batch, cairn_batch_close> batch_;
};

}  // namespace v0
}  // namespace cairn

#endif
