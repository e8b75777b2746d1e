#pragma once

#include <sched.h>

#include <chrono>
#include <cstdint>

namespace cairn {

// Nanoseconds on a clock that never jumps.
inline int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// A helper's turns on its processor: when to give way, and whether others want it too.
class ThreadTurn {
 public:
  // In nanoseconds. Less than any scheduler's time slice (Linux's are 1.4 ms and longer), so that a helper is
  // seldom interrupted in the middle of an index.
  static constexpr int64_t kLength = 1'000'000;

  void begin(int64_t time) { begin_ = last_ = time; }
  // While it spins; true: somebody else had the processor meanwhile.
  bool spins(int64_t time) {
    const bool away = time - last_ > kAway;
    if (away) taken(time);
    last_ = time;
    return away;
  }
  void works(int64_t time) { last_ = time; }
  bool over() const { return last_ - begin_ >= kLength; }
  void give_way() {
    sched_yield();
    const int64_t time = monotonic_ns();
    if (time - last_ > kYielded) taken(time);
    begin(time);
  }
  bool others() const { return last_ < others_until_; }

 private:
  // Pauses that long were somebody else's turn: in spinning, in a yield. One counts for the third's length.
  static constexpr int64_t kAway = 300'000, kYielded = 100'000, kOthersFor = 100'000'000;

  void taken(int64_t time) {
    begin_ = time;
    others_until_ = time + kOthersFor;
  }

  int64_t begin_ = monotonic_ns(), last_ = begin_, others_until_ = 0;
};

}  // namespace cairn
