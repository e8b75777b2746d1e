#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "resident/set.hpp"

namespace cairn::resident {

constexpr uint64_t kUnlimited = UINT64_MAX;

// One account for everything that a process holds: a budget for its resident memory, of which a stack's
// blocks take what weights outside the stack, KV cache, scratch and all the rest leave.
class Account {
 public:
  explicit Account(Set& set) : set_(set) {}

  // Any thread. Takes effect between two steps of whatever runs. A budget below the least possible one leaves
  // the base; see least().
  void set_budget(uint64_t bytes);
  uint64_t budget() const noexcept { return budget_.load(); }

  // Before a pass, outside of it: `coming` bytes will be touched for the first time (KV cache, scratch).
  // Gives back as many before they are needed, and takes what has become free.
  void before_pass(uint64_t coming);

  // The resident memory with the base's blocks alone.
  uint64_t least(uint64_t coming = 0) const;

 private:
  void settle(uint64_t coming, bool wait);

  Set& set_;
  std::atomic<uint64_t> budget_{kUnlimited};
  std::mutex mutex_;
  uint64_t limit_ = kUnlimited;  // last given to the set
};

}  // namespace cairn::resident
