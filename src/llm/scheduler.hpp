#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "llm/prefix_cache.hpp"
#include "llm/prefix_files.hpp"
#include "llm/session.hpp"

namespace cairn::llm {

struct SchedulerOptions {
  uint32_t sequences = 8;  // most requests that have pages at a time
  uint32_t queue = 256;    // most that wait behind them
  // Most tokens of prompts in a step that decodes too: the other sequences' gap. At most the engine's chunk.
  uint32_t beside = 128;
  uint64_t kv_bytes = 0;  // most bytes of pages, kept prefixes among them; 0: the engine's
  uint64_t kept_bytes = uint64_t{256} << 20;  // … of kept prefixes, a draft's among them; 0 keeps none
  std::shared_ptr<PrefixFiles> files{};       // … on disk; null: none
  // For Speculation::draft and automatic: a model of the same vocabulary (check_draft). kv_bytes are without
  // its pages, kept_bytes with those of its prefixes. Null: none.
  std::shared_ptr<engine::Engine> draft{};
};

struct Request {
  std::vector<Token> prompt;
  GenerateOptions options;           // its callbacks are called by the scheduler's thread
  TokenCallback token{};             // by that thread, as soon as a token is there; false: stop
  std::function<void()> finished{};  // by that thread, when Ticket::wait() waits no more; must not throw
  int priority = 0;                  // greater ones are begun first, and their prompts read first
  bool admitted = false;             // with one that was: a full queue does not refuse it
};

struct SchedulerStatus {
  uint32_t waiting = 0, running = 0;
  uint64_t slices = 0;                            // that steps took
  uint64_t tokens = 0;                            // generated
  uint64_t guessed = 0, accepted = 0;             // as Statistics has them
  uint64_t prompt_tokens = 0, cached_tokens = 0;  // of requests that were begun; of them not read again
  uint64_t kept_bytes = 0;                        // of kept prefixes, shared pages counted for each
};

// Many requests on one engine: each step gives every sequence that decodes a token, and reads a piece of the
// prompts that wait beside them. One thread of its own runs the steps and all callbacks. What it answers at
// temperature 0 is what a Session answers, whoever else is there (docs/scheduler.md).
class Scheduler {
  struct Job;

 public:
  // A request that was taken. It may outlive the scheduler.
  class Ticket {
   public:
    void cancel();       // from any thread: the answer ends as `cancelled` with what there is of it
    bool ready() const;  // whether wait() would not wait
    // The answer, once. Errors: as Session::generate, out_of_memory (no pages for
    // its next tokens, and nobody else who will give some back), what a
    // callback threw.
    Result wait();

   private:
    friend class Scheduler;
    explicit Ticket(std::shared_ptr<Job> job) : job_(std::move(job)) {}
    std::shared_ptr<Job> job_;
  };

  // Error invalid_argument: no sequences, no room in the queue, no tokens beside others.
  Scheduler(std::shared_ptr<engine::Engine> engine, std::shared_ptr<const text::Tokenizer> tokenizer,
            SchedulerOptions options = {});
  ~Scheduler();  // cancels all requests
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // From any thread, callbacks too. Errors: busy (the queue is full), and at once those of
  // invalid_argument that Session::generate has.
  Ticket submit(Request request);
  SchedulerStatus status() const;
  const SchedulerOptions& options() const noexcept { return options_; }

 private:
  using Jobs = std::list<std::shared_ptr<Job>>;
  struct Part {  // of a step
    std::shared_ptr<Job> job;
    uint32_t tokens;  // with guesses, where it decodes
  };

  void work();
  void admit();
  void begin(Job& job);
  void begin_draft(Job& job);
  void keep_draft(Job& job, bool ends);
  void drop_cancelled();
  void drop_cancelled_waiting();
  void guess();
  std::vector<Part> plan();
  bool room(Job& job, uint32_t tokens);
  void wait_again(Job& job);
  void step(const std::vector<Part>& parts);
  void step_alone(const std::vector<Part>& parts);
  engine::Slice slice(const Part& part);
  void advance(const Part& part);
  void take_tokens(Job& job);
  bool take_token(Job& job, std::span<float> logits);
  void piece_read(Job& job, uint32_t tokens);
  void save_one();
  void end(Job& job, FinishReason reason);
  void fail_with(Job& job, std::exception_ptr error);
  void settle(Job& job, std::exception_ptr error = nullptr);

  const std::shared_ptr<engine::Engine> engine_;
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  const SchedulerOptions options_;
  size_t sampled_ = 0;  // tokens to choose from

  mutable std::mutex mutex_;  // of what follows, up to the worker's own
  std::condition_variable wake_;
  Jobs waiting_;  // in the order of their beginning
  bool stopping_ = false;
  SchedulerStatus status_;

  Jobs running_;  // the worker's own from here on
  Speculator speculator_;
  PrefixCache kept_;
  struct Unsaved {
    std::vector<Token> tokens;
    std::unique_ptr<engine::Sequence> sequence;
    uint32_t next = 0;  // block
  };
  std::list<Unsaved> unsaved_;
  uint64_t turn_ = 0;
  std::thread worker_;  // last: it uses all of the above
};

}  // namespace cairn::llm
