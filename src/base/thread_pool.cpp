#include "base/thread_pool.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cores.hpp"
#include "base/error.hpp"
#include "base/futex.hpp"
#include "base/index_range.hpp"
#include "base/thread_turn.hpp"

namespace cairn {
namespace {

constexpr size_t kMostThreads = 1024;

// Nanoseconds. Helpers spin between two loops where nobody else wants their processor, hardly where somebody
// does; the caller spins for a helper's last index. Waking a thread takes some tens of microseconds.
constexpr int64_t kSpin = 1'000'000, kSpinBusy = 50'000, kSpinSleepy = 20'000, kWaitSpin = 200'000;
constexpr int64_t kLook = 100'000'000;  // between two looks at which processors are ours

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins for about a microsecond, less when `ended` says so; what it says.
template <class Ended>
bool spin(const Ended& ended) {
  for (int i = 0; i < 16; ++i) {
    if (ended()) return true;
    pause();
  }
  return false;
}

// Which pool's loop this thread is in, and as which of its threads.
struct Membership {
  const void* pool = nullptr;
  size_t thread = 0;
};
thread_local Membership membership;

}  // namespace

class ThreadPool::Loop {
 public:
  Loop(size_t threads, Idle idle) : idle_(idle), places_(threads) {
    cpu_set_t mask;
    if (allowed(mask)) processors_ = static_cast<size_t>(CPU_COUNT(&mask));
    for (; started_ < threads; ++started_) {
      try {
        places_[started_].thread = std::thread([this, self = started_] { serve(self); });
      } catch (const std::system_error& error) {
        static std::atomic<bool> told{false};
        if (!told.exchange(true)) {
          fmt::print(stderr, "cairn: {} of {} threads could be started ({}); going on with fewer\n", started_,
                     threads, error.code().message());
        }
        break;
      }
    }
    active_ = started_;
  }
  ~Loop() {
    stop_.store(true, std::memory_order_relaxed);
    number_.fetch_add(1, std::memory_order_seq_cst);
    for (size_t i = 1; i < started_; ++i) {
      wake(places_[i]);
      places_[i].thread.join();
    }
  }

  size_t threads() const { return started_; }

  ThreadUse use() const {
    int64_t all = 0;
    for (const Place& place : places_) all += place.worked.load(std::memory_order_relaxed);
    return {static_cast<double>(lasted_.load(std::memory_order_relaxed)) * 1e-9,
            static_cast<double>(all) * 1e-9};
  }

  void run(size_t count, Function function, void* context) {
    const int64_t start = monotonic_ns();
    keep_helpers_off(start);
    const size_t width = std::min(active_, count);
    function_.store(function, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    width_.store(width, std::memory_order_relaxed);
    remaining_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    for (size_t i = 0; i < width; ++i) places_[i].range.set(count * i / width, count * (i + 1) / width);
    if (width > 1) {
      number_.fetch_add(1, std::memory_order_seq_cst);
      for (size_t i = 1; i < width; ++i) wake(places_[i]);
    }
    work(0, nullptr);
    wait();
    lasted_.store(lasted_.load(std::memory_order_relaxed) + monotonic_ns() - start,
                  std::memory_order_relaxed);
  }

 private:
  struct alignas(64) Place {
    IndexRange range;
    std::atomic<int64_t> worked{0};  // nanoseconds
    alignas(64) std::atomic<uint32_t> asleep{0};
    std::thread thread;
  };

  // Takes and does indices until none is left. The thread tells what it has done before it gives way.
  void work(size_t self, ThreadTurn* turn) {
    Place& place = places_[self];
    uint32_t done = 0, next_look = 1;
    size_t index = 0;
    int64_t start = monotonic_ns();
    const auto tell = [&](int64_t time) {
      place.worked.store(place.worked.load(std::memory_order_relaxed) + time - start,
                         std::memory_order_relaxed);
      if (remaining_.fetch_sub(done, std::memory_order_seq_cst) == done &&
          waiting_.load(std::memory_order_seq_cst) != 0) {
        futex_wake(remaining_, 1);
      }
      done = 0;
    };
    const auto perform = [&] {
      function_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), self, index);
      if (++done < next_look || turn == nullptr) return;
      const int64_t time = monotonic_ns();
      // About ten looks a turn.
      const int64_t few = done * (ThreadTurn::kLength / 10) / std::max<int64_t>(1, time - start);
      next_look = static_cast<uint32_t>(std::clamp<int64_t>(few, 1, 1000));
      turn->works(time);
      if (turn->over()) {
        tell(time);
        turn->give_way();
        start = monotonic_ns();
      } else {
        next_look += done;
      }
    };
    while (place.range.take_first(index)) perform();
    const size_t width = width_.load(std::memory_order_relaxed);
    for (size_t i = 1; i < width; ++i) {
      while (places_[(self + i) % width].range.take_last(index)) perform();
    }
    if (done == 0) return;
    const int64_t time = monotonic_ns();
    tell(time);
    if (turn != nullptr) turn->works(time);
  }

  void serve(size_t self) {
    membership = {this, self};
    ThreadTurn turn;
    for (uint32_t seen = 0;;) {
      seen = next_loop(places_[self], seen, turn);
      if (stop_.load(std::memory_order_relaxed)) return;
      if (self < width_.load(std::memory_order_relaxed)) work(self, &turn);
    }
  }

  // Waits for a loop after the one numbered `seen`; its number.
  uint32_t next_loop(Place& place, uint32_t seen, ThreadTurn& turn) {
    int64_t start = monotonic_ns(), yielded = start;
    turn.works(start);
    if (turn.over()) turn.give_way();
    while (true) {
      if (spin([&] { return number_.load(std::memory_order_acquire) != seen; }))
        return number_.load(std::memory_order_relaxed);
      const int64_t time = monotonic_ns();
      if (turn.spins(time)) start = time;
      const int64_t limit = idle_ == Idle::sleep ? kSpinSleepy : turn.others() ? kSpinBusy : kSpin;
      if (time - start < limit) {
        if (time - yielded > kSpinBusy) {
          sched_yield();  // who wakes here would wait for the end of the time slice
          yielded = monotonic_ns();
        }
        continue;
      }
      place.asleep.store(1, std::memory_order_seq_cst);
      if (number_.load(std::memory_order_seq_cst) == seen) futex_wait(place.asleep, 1);
      place.asleep.store(0, std::memory_order_relaxed);
      start = monotonic_ns();
      turn.begin(start);
    }
  }

  static void wake(Place& place) {
    if (place.asleep.load(std::memory_order_seq_cst) == 0) return;
    place.asleep.store(0, std::memory_order_seq_cst);
    futex_wake(place.asleep, 1);
  }

  // Until the helpers have done what they took.
  void wait() {
    const int64_t start = monotonic_ns();
    do {
      if (spin([&] { return remaining_.load(std::memory_order_acquire) == 0; })) return;
    } while (monotonic_ns() - start < kWaitSpin);
    waiting_.store(1, std::memory_order_seq_cst);
    while (const uint32_t left = remaining_.load(std::memory_order_seq_cst)) futex_wait(remaining_, left);
    waiting_.store(0, std::memory_order_relaxed);
  }

  static bool allowed(cpu_set_t& mask) {
    CPU_ZERO(&mask);
    return sched_getaffinity(0, sizeof mask, &mask) == 0;
  }

  // Helpers run on any processor that the caller may use but the one where it is.
  void keep_helpers_off(int64_t time) {
    if (started_ == 1) return;
    const int processor = sched_getcpu();
    if (processor == processor_ && time - looked_ < kLook) return;
    processor_ = processor;
    looked_ = time;
    cpu_set_t mask;
    if (processor < 0 || !allowed(mask)) return;
    // Fewer processors than at the start are fewer threads.
    const auto processors = static_cast<size_t>(CPU_COUNT(&mask));
    active_ = processors < processors_ ? std::min(started_, processors) : started_;
    CPU_CLR(static_cast<size_t>(processor), &mask);
    if (CPU_COUNT(&mask) == 0 || CPU_EQUAL(&mask, &helpers_)) return;
    helpers_ = mask;
    for (size_t i = 1; i < started_; ++i)
      pthread_setaffinity_np(places_[i].thread.native_handle(), sizeof mask, &mask);
  }

  const Idle idle_;
  std::vector<Place> places_;
  size_t started_ = 1, active_ = 1;  // threads, the caller among them; those that loops are shared among
  size_t processors_ = 0;            // the caller's, when the threads were started
  int processor_ = -1;               // where the caller was when it last looked
  int64_t looked_ = 0;
  cpu_set_t helpers_{};
  std::atomic<int64_t> lasted_{0};  // nanoseconds of loops

  // The current loop's; written before its ranges are.
  alignas(64) std::atomic<Function> function_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<size_t> width_{0};  // threads that have a range
  alignas(64) std::atomic<uint32_t> number_{0};
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> remaining_{0};  // indices not done yet
  std::atomic<uint32_t> waiting_{0};                // the caller sleeps until remaining_ is 0
};

ThreadPool::ThreadPool(size_t threads, Idle idle) {
  if (threads == 0 || threads > kMostThreads) {
    fail(ErrorCode::invalid_argument, "threads: {} is not between 1 and {}", threads, kMostThreads);
  }
  loop_ = std::make_unique<Loop>(std::min(threads, allowed_processors()), idle);
}

ThreadPool::~ThreadPool() = default;

size_t ThreadPool::threads() const noexcept {
  return loop_->threads();
}

ThreadUse ThreadPool::use() const {
  return loop_->use();
}

void ThreadPool::run_raw(size_t count, Function function, void* context) {
  const Membership before = membership;
  if (before.pool == loop_.get()) {
    for (size_t i = 0; i < count; ++i) function(context, before.thread, i);
    return;
  }
  const std::lock_guard lock(one_loop_);
  membership = {loop_.get(), 0};
  loop_->run(count, function, context);
  membership = before;
}

}  // namespace cairn
