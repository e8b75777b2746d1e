#include "base/thread_pool.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/futex.hpp"

namespace cairn {
namespace {

constexpr size_t kMostThreads = 1024;

static int64_t env(const char* n, int64_t d) {
  const char* e = getenv(n);
  return e ? atoll(e) : d;
}
// Nanoseconds.
int64_t kSpin = env("CAIRN_SPIN", 1000)*1000;           // helpers between loops, where nobody else wants the processor
int64_t kSpinBusy = env("CAIRN_SPINB", 50)*1000;        // and where somebody does
int64_t kSpinSleepy = 20'000;      // helpers of Idle::sleep
int64_t kWaitSpin = env("CAIRN_WAIT",200)*1000;      // the caller, for a helper's last index
int64_t kTurn = env("CAIRN_YIELD",1000)*1000;        // a helper gives way after it: less than any scheduler's own turns
constexpr int64_t kAway = 300'000;         // a pause this long was somebody else's turn
constexpr int64_t kBusyFor = 100'000'000;  // how long one such turn counts
constexpr int64_t kLook = 100'000'000;     // between two looks at which processors are ours

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void pause() {
  for (int i = 0; i < 8; ++i) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

// Which pool's loop this thread is in, and as which of its threads.
struct Membership {
  const void* pool = nullptr;
  size_t thread = 0;
};
thread_local Membership membership;

// The indices [begin, end) of a loop that nobody has taken yet, in one word. Taking one is what makes it safe to
// look at the loop: until that index is done the loop cannot end.
class Range {
 public:
  void set(size_t begin, size_t end) {
    word_.store(static_cast<uint64_t>(end) << 32 | begin, std::memory_order_release);
  }
  bool take_first(size_t& index) {
    return take(1, [&](uint64_t word) { index = static_cast<uint32_t>(word); });
  }
  bool take_last(size_t& index) {
    return take(-(uint64_t{1} << 32), [&](uint64_t word) { index = (word >> 32) - 1; });
  }

 private:
  template <class Found>
  bool take(uint64_t change, const Found& found) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while (static_cast<uint32_t>(word) < word >> 32) {
      if (word_.compare_exchange_weak(word, word + change, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        found(word);
        return true;
      }
    }
    return false;
  }

  std::atomic<uint64_t> word_{0};
};

// A helper's turns on its processor.
class Turns {
 public:
  // Between two things to do. True: somebody else had the processor meanwhile.
  bool look(int64_t time) {
    const bool away = time - last_ > kAway;
    if (away) busy_until_ = time + kBusyFor;
    if (away) since_ = time;
    last_ = time;
    return away;
  }
  void begin(int64_t time) { since_ = last_ = time; }
  bool busy() const { return last_ < busy_until_; }
  bool over() const { return last_ - since_ >= kTurn; }
  void give_way() {
    sched_yield();
    const int64_t time = now();
    if (time - last_ > kAway / 3) busy_until_ = time + kBusyFor;
    begin(time);
  }

 private:
  int64_t since_ = now(), last_ = since_, busy_until_ = 0;
};

}  // namespace

class ThreadPool::Loop {
 public:
  Loop(size_t threads, Idle idle) : idle_(idle), places_(threads) {
    for (size_t i = 1; i < threads; ++i) {
      try {
        places_[i].thread = std::thread([this, i] { serve(i); });
      } catch (const std::system_error& error) {
        static std::atomic<bool> told{false};
        if (!told.exchange(true))
          fmt::print(stderr, "cairn: {} of {} threads could be started ({}); going on with those\n", i, threads, error.code().message());
        break;
      }
      started_ = i + 1;
    }
    active_ = started_;
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) processors_ = static_cast<size_t>(CPU_COUNT(&mask));
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
    int64_t helpers = 0;
    for (const Place& place : places_) helpers += place.worked.load(std::memory_order_relaxed);
    const int64_t own = worked_.load(std::memory_order_relaxed);
    return {static_cast<double>(own) * 1e-9, static_cast<double>(helpers) * 1e-9};
  }

  void run(size_t count, Function function, void* context) {
    const int64_t start = now();
    keep_helpers_off(start);
    const size_t width = std::min(active_, count);
    function_.store(function, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    width_.store(width, std::memory_order_relaxed);
    remaining_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    for (size_t i = 0; i < width; ++i)
      places_[i].range.set(count * i / width, count * (i + 1) / width);
    number_.fetch_add(1, std::memory_order_seq_cst);
    for (size_t i = 1; i < width; ++i) wake(places_[i]);
    work(0, nullptr);
    wait();
    worked_.store(worked_.load(std::memory_order_relaxed) + now() - start, std::memory_order_relaxed);
  }

  void alone(size_t count, Function function, void* context, size_t thread, bool counted) {
    const int64_t start = now();
    for (size_t i = 0; i < count; ++i) function(context, thread, i);
    if (!counted) return;
    const int64_t took = now() - start;
    worked_.store(worked_.load(std::memory_order_relaxed) + took, std::memory_order_relaxed);
    Place& place = places_[0];
    place.worked.store(place.worked.load(std::memory_order_relaxed) + took, std::memory_order_relaxed);
  }

  size_t active() const { return active_; }

 private:
  struct alignas(64) Place {
    Range range;
    alignas(64) std::atomic<uint32_t> asleep{0};
    std::atomic<int64_t> worked{0};  // nanoseconds
    std::thread thread;
  };

  // Takes and does indices until none is left. What is done is told before the thread gives way.
  void work(size_t self, Turns* turns) {
    Place& place = places_[self];
    uint32_t done = 0, next_look = 1;
    size_t index = 0;
    int64_t start = now();
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
      if (++done < next_look || turns == nullptr) return;
      const int64_t time = now();
      next_look = static_cast<uint32_t>(
          std::clamp<int64_t>(done * kTurn / 10 / std::max<int64_t>(1, time - start), 1, 1000));
      turns->look(time);
      if (turns->over()) {
        tell(time);
        turns->give_way();
        start = now();
      } else {
        next_look += done;
      }
    };
    while (place.range.take_first(index)) perform();
    const size_t width = width_.load(std::memory_order_relaxed);
    for (size_t i = 1; i < width; ++i) {
      while (places_[(self + i) % width].range.take_last(index)) perform();
    }
    if (done != 0) tell(now());
  }

  void serve(size_t self) {
    membership = {this, self};
    Turns turns;
    for (uint32_t seen = 0;;) {
      seen = next_loop(places_[self], seen, turns);
      if (stop_.load(std::memory_order_relaxed)) return;
      if (self < width_.load(std::memory_order_relaxed)) work(self, &turns);
    }
  }

  // Waits for a loop after the one numbered `seen`; its number.
  uint32_t next_loop(Place& place, uint32_t seen, Turns& turns) {
    int64_t start = now();
    turns.look(start);
    if (turns.over()) turns.give_way();
    while (true) {
      const uint32_t number = number_.load(std::memory_order_acquire);
      if (number != seen) return number;
      pause();
      const int64_t time = now();
      if (turns.look(time)) start = time;
      const int64_t limit = idle_ == Idle::sleep ? kSpinSleepy : turns.busy() ? kSpinBusy : kSpin;
      if (time - start < limit) continue;
      place.asleep.store(1, std::memory_order_seq_cst);
      if (number_.load(std::memory_order_seq_cst) == seen) futex_wait(place.asleep, 1);
      place.asleep.store(0, std::memory_order_relaxed);
      start = now();
      turns.begin(start);
    }
  }

  static void wake(Place& place) {
    if (place.asleep.load(std::memory_order_seq_cst) == 0) return;
    place.asleep.store(0, std::memory_order_seq_cst);
    futex_wake(place.asleep, 1);
  }

  // Until the helpers have done what they took.
  void wait() {
    if (remaining_.load(std::memory_order_acquire) == 0) return;
    for (const int64_t start = now(); now() - start < kWaitSpin;) {
      pause();
      if (remaining_.load(std::memory_order_acquire) == 0) return;
    }
    waiting_.store(1, std::memory_order_seq_cst);
    while (const uint32_t left = remaining_.load(std::memory_order_seq_cst)) futex_wait(remaining_, left);
    waiting_.store(0, std::memory_order_relaxed);
  }

  // Helpers run on any processor of this process but the caller's.
  void keep_helpers_off(int64_t time) {
    const int processor = sched_getcpu();
    if (processor == processor_ && time - looked_ < kLook) return;
    looked_ = time;
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (processor < 0 || sched_getaffinity(0, sizeof mask, &mask) != 0) return;
    // Fewer than at the start: so many threads less.
    const size_t processors = static_cast<size_t>(std::max(1, CPU_COUNT(&mask)));
    active_ = processors < processors_ ? std::min(started_, processors) : started_;
    CPU_CLR(static_cast<size_t>(processor), &mask);
    if (CPU_COUNT(&mask) == 0 || (processor == processor_ && CPU_EQUAL(&mask, &helpers_))) return;
    processor_ = processor;
    helpers_ = mask;
    for (size_t i = 1; i < started_; ++i)
      pthread_setaffinity_np(places_[i].thread.native_handle(), sizeof mask, &mask);
  }

  const Idle idle_;
  size_t started_ = 1, active_ = 1;
  std::vector<Place> places_;
  size_t processors_ = 0;  // when the threads were started
  int processor_ = -1;     // the caller's
  int64_t looked_ = 0;
  cpu_set_t helpers_{};
  std::atomic<int64_t> worked_{0};  // nanoseconds of loops

  // Of the current loop; written before its ranges are.
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
  loop_ = std::make_unique<Loop>(std::min(threads, usable_processors()), idle);
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
  if (before.pool == loop_.get()) return loop_->alone(count, function, context, before.thread, false);
  const std::lock_guard lock(one_loop_);
  membership = {loop_.get(), 0};
  if (count < 2 || loop_->active() == 1) {
    loop_->alone(count, function, context, 0, true);
  } else {
    loop_->run(count, function, context);
  }
  membership = before;
}

}  // namespace cairn
