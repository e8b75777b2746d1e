// Answers on their way to Python: events from an engine's thread, taken by whoever iterates.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <cairn/cairn.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace binding {

struct Event {
  struct Piece {
    cairn::PieceKind kind;
    std::string text, id;
  };
  std::int32_t token;
  std::string text;
  std::optional<cairn::TokenLogprobs> logprobs;
  std::vector<Piece> pieces;
};

// What the thread that computes and the one that reads share. The first never waits for Python.
class Queue {
 public:
  ~Queue();
  void push(const cairn::TokenEvent& event);
  void finish(std::function<cairn::Result()> result);  // may throw what went wrong
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }
  void cancel() noexcept { cancelled_ = true; }

  // The next event; at the end none. wait: otherwise `over` tells whether more comes. With Python's lock
  // held, which it lets go of; throws what Ctrl-C raises.
  std::optional<Event> next(bool wait, bool& over);
  const cairn::Result& result();  // waits for the end; throws what went wrong, each time
  // Of the prompt; waits for the first event.
  std::vector<cairn::TokenLogprobs> prompt_logprobs();
  int readable();      // a descriptor that can be read when an event or the end is there
  void drain() const;  // before looking again

 private:
  template <class Ready>
  void wait_until(std::unique_lock<std::mutex>& lock, const Ready& ready);
  void wake();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  bool prompt_known_ = false;
  std::vector<cairn::TokenLogprobs> prompt_;
  int waiting_ = 0;  // for an event
  bool over_ = false;
  std::optional<cairn::Result> result_;
  std::exception_ptr error_;
  std::atomic<bool> cancelled_{false};
  int event_ = -1;
};

// A session's answer by a thread of its own, or a batch's.
class Stream {
 public:
  using Generate = std::function<cairn::Result(const cairn::GenerateOptions&)>;
  static std::unique_ptr<Stream> by_thread(Generate generate, cairn::GenerateOptions options);
  static std::unique_ptr<Stream> by_batch(std::shared_ptr<cairn::Batch> batch,
                                          const std::vector<std::int32_t>& prompt,
                                          cairn::GenerateOptions options, int priority);
  ~Stream();  // cancels, and waits for a thread of its own; without Python's lock
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void cancel() noexcept { queue_->cancel(); }
  Queue& queue() const { return *queue_; }
  bool with_logprobs() const noexcept { return with_logprobs_; }
  bool with_prompt_logprobs() const noexcept { return with_prompt_logprobs_; }

 private:
  explicit Stream(cairn::GenerateOptions& options);

  const bool with_logprobs_, with_prompt_logprobs_;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
  std::shared_ptr<cairn::Batch> batch_;
  std::thread thread_;
};

void add_streams(pybind11::module_& module);

}  // namespace binding
