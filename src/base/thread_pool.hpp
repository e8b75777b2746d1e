#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/thread_use.hpp"

namespace cairn {

// Threads that run parallel loops: the caller and helpers. A loop is over when its last index is done,
// whether or not every helper has come: one that the system gives no processor to is not waited for, unless
// it was interrupted in the middle of an index. So that this is rare, helpers keep off the caller's processor
// and give way to whoever waits for theirs about every millisecond, between two indices (docs/cpu.md).
class ThreadPool {
 public:
  // What helpers do between two loops: spin for a moment, so that the next one starts at once, or sleep, so
  // that another pool's loops have the processors to themselves.
  enum class Idle : uint8_t { spin, sleep };

  // threads: the most that shall work, 1 … 1,024 (Error invalid_argument otherwise). Those beyond
  // usable_processors() would only wait for each other and are not started; where the system refuses more
  // threads the pool stays smaller, and a line on standard error says so once.
  explicit ThreadPool(size_t threads, Idle idle = Idle::spin);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t threads() const noexcept;  // the caller and the helpers that were started
  ThreadUse use() const;            // since it was made

  // Calls body(thread, index) for each index in [0, count), count < 2^31, spread over the threads with work
  // stealing; returns when all are done. thread is in [0, threads()), and no two bodies of one loop run as
  // the same. body must not throw. A loop inside of a body of the same pool runs on that body's thread alone;
  // from several threads, one loop waits for the other.
  template <class Body>
  void run(size_t count, const Body& body) {
    run_raw(
        count,
        [](void* context, size_t thread, size_t index) {
          (*static_cast<const Body*>(context))(thread, index);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using Function = void (*)(void*, size_t thread, size_t index);
  class Loop;
  void run_raw(size_t count, Function function, void* context);

  std::mutex one_loop_;  // at a time
  std::unique_ptr<Loop> loop_;
};

// Processors that this process may use: its affinity mask and its cgroup's quota, whichever is less.
size_t usable_processors();
// For tests: what usable_processors() answers from now on; 0: the truth again.
void pretend_processors(size_t count);

}  // namespace cairn
