#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/memory_pressure.hpp"

namespace cairn::resident {

// --memory auto: decides, from what the system says, how much this process may hold.
class Policy {
 public:
  // resident: this process's memory now; now: seconds. Returns the new budget in bytes. Falls at once when
  // less than a reserve is left, or when tasks wait for memory; rises only when more than twice the reserve
  // has been left for some seconds, and then by half of what is free, so that two processes share it.
  uint64_t next(const MemoryState& state, uint64_t resident, double now);
  uint64_t budget() const { return budget_; }

 private:
  uint64_t budget_ = 0;  // 0: none yet
  uint64_t stalled_ = 0;
  double before_ = 0, calm_since_ = 0;
};

// Asks the system forty times a second in a thread of its own.
class Governor {
 public:
  Governor(MemoryPressure pressure, std::function<void(uint64_t budget)> set_budget);
  ~Governor();
  Governor(const Governor&) = delete;
  Governor& operator=(const Governor&) = delete;

 private:
  void work();

  MemoryPressure pressure_;
  std::function<void(uint64_t)> set_budget_;
  Policy policy_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool leaving_ = false;
  std::thread thread_;
};

}  // namespace cairn::resident
