#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace cairn {

// Sleeps while `word` holds `value`, at most `nanoseconds` where that is not 0; may return early.
// std::atomic's own wait has no time limit and spins first for as long as the library likes.
inline void futex_wait(const std::atomic<uint32_t>& word, uint32_t value, int64_t nanoseconds = 0) {
  const timespec limit{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nanoseconds == 0 ? nullptr : &limit, nullptr, 0);
}

inline void futex_wake(const std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

}  // namespace cairn
