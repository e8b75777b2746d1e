#include "resident/account.hpp"

#include <algorithm>

#include "base/memory_pressure.hpp"

namespace cairn::resident {
namespace {

// Kept free: what the kernel's counters lag behind, and small allocations during a pass.
constexpr uint64_t kSlack = 512 << 10;
// A cache that grows with each token must not move the set each time: it gives way in steps, and takes back
// only what is worth a read.
constexpr uint64_t kDownStep = 1 << 20, kUpStep = 3 << 20;

}  // namespace

uint64_t Account::least(uint64_t coming) const {
  const uint64_t held = set_.resident_bytes(), all = resident_memory();
  return all - std::min(all, held) + set_.status().base_bytes + coming + kSlack;
}

void Account::set_budget(uint64_t bytes) {
  budget_ = bytes;
  {
    const std::lock_guard lock(mutex_);
    limit_ = kUnlimited;  // forgets the steps: the new budget shall be met as it is
  }
  settle(0, false);
}

void Account::before_pass(uint64_t coming) {
  settle(coming, true);
}

void Account::settle(uint64_t coming, bool wait) {
  const std::lock_guard lock(mutex_);
  const uint64_t budget = budget_;
  if (budget == kUnlimited) {
    if (limit_ != kUnlimited || !wait) set_.set_limit(kUnlimited);
    limit_ = kUnlimited;
    return;
  }
  const uint64_t held = set_.resident_bytes(), all = resident_memory();
  const uint64_t others = all - std::min(all, held) + coming + kSlack;
  const uint64_t allowed = budget - std::min(budget, others);
  if (limit_ == kUnlimited || allowed > limit_ + kUpStep) {
    limit_ = allowed;
  } else if (allowed < limit_) {
    limit_ = allowed - std::min(allowed, kDownStep);
  } else {
    return;
  }
  set_.set_limit(limit_);
  if (wait) set_.wait_until_released();
}

}  // namespace cairn::resident
