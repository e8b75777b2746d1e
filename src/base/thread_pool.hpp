#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

struct pthreadpool;

namespace cairn {

// A fixed set of threads (the caller is one of them) that runs parallel loops; see pthreadpool.
class ThreadPool {
 public:
  // What workers do between two loops: spin for some milliseconds, so that the next one starts at once, or
  // sleep, so that another pool's loops have the processors to themselves.
  enum class Idle : uint8_t { spin, sleep };

  // threads: 1 … 1,024 (Error invalid_argument otherwise); more than the machine has is allowed.
  explicit ThreadPool(size_t threads, Idle idle = Idle::spin);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t threads() const noexcept;

  // Calls body(thread, index) for each index in [0, count), spread over the threads with work stealing;
  // returns when all are done. thread is in [0, threads()). body must not throw.
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
  void run_raw(size_t count, Function function, void* context);
  struct Deleter {
    void operator()(pthreadpool*) const noexcept;
  };
  std::atomic<size_t> workers_{0};  // that have taken a number
  Idle idle_;
  std::unique_ptr<pthreadpool, Deleter> pool_;
};

// Processors that this process may use: its affinity mask and its cgroup's quota, whichever is less.
size_t usable_processors();

}  // namespace cairn
