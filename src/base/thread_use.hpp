#pragma once

namespace cairn {

// What parallel loops took so far, in seconds of wall time: the loops, and all threads in them together.
struct ThreadUse {
  double loop_seconds = 0, thread_seconds = 0;

  // Threads that worked, on average; 0 without loops.
  double mean() const { return loop_seconds > 0 ? thread_seconds / loop_seconds : 0; }
  // Since an earlier state of the same.
  ThreadUse since(const ThreadUse& earlier) const {
    return {loop_seconds - earlier.loop_seconds, thread_seconds - earlier.thread_seconds};
  }
};

}  // namespace cairn
